"""`tidings migrate`: the database as this version needs it.

tidings migrate
"""

from __future__ import annotations

import click

from tidings.process.boot import prepare_var_dir
from tidings.process.settings import load_settings
from tidings.process.site_folder import SiteFolder, find_site, record_site
from tidings.store.opening import migrate_database


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema. Safe to run twice, and from two places at once."""
    settings = load_settings()
    if "database_url" not in settings.given:
        prepare_var_dir(settings)
    click.echo(f"the database is at revision {migrate_database(settings)}")
    record_site(SiteFolder(find_site().home, settings.site.var_dir))
