"""The `tidings` command. Each noun is a file beside this one or in a process, and comes in through
the entry-point group `tidings.commands`, so that this module imports none of them and a command
imports only what it runs.

    tidings --site /srv/news articles list
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import click

from tidings.process.errors import CannotStartError
from tidings.process.site_folder import name_site


class OneLineErrors(click.Group):
    """Bad configuration is one line on stderr and exit code 2, a busy database one line and exit
    code 75 (EX_TEMPFAIL): never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CannotStartError as ex:
            click.echo(f"tidings: {ex}", err=True)
            sys.exit(2)
        except Exception as ex:
            cause = _passing_cause(ex)
            if cause is None:
                raise
            click.echo(f"tidings: the database is busy ({cause}); try again", err=True)
            sys.exit(os.EX_TEMPFAIL)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group="tidings.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in entry_points(group="tidings.commands", name=cmd_name):
            command: click.Command = entry.load()
            return command
        return None


def _passing_cause(ex: Exception) -> str | None:
    if "sqlalchemy" not in sys.modules:  # a command that opens no database does not wait for it
        return None
    from sqlalchemy.exc import SQLAlchemyError

    from tidings.store.retry import is_passing

    return is_passing(ex) if isinstance(ex, SQLAlchemyError) else None


@click.group(cls=OneLineErrors)
@click.version_option(package_name="tidings")
@click.option(
    "--site",
    metavar="DIR",
    help="The site's folder, or the one that has it as var/. Default: TIDINGS_VAR_DIR, the site "
    "in this folder or above, the one started last.",
)
def main(site: str | None) -> None:
    """Run and look after a Tidings site."""
    if site is not None:
        name_site(site)


if __name__ == "__main__":
    main()
