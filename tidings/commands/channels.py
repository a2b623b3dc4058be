"""`tidings channels`: the parts of the site. An import opens them, by what its rows say.

tidings channels list --json
"""

from __future__ import annotations

import click

from tidings.commands.articles import HOW_TO_FILL
from tidings.commands.printing import json_option, print_rows
from tidings.news.listing import list_channels as read_listed
from tidings.process.settings import load_settings
from tidings.store.opening import open_database


@click.group()
def channels() -> None:
    """The parts of the site."""


@channels.command("list")
@json_option
def list_channels(*, as_json: bool) -> None:
    """Print every channel and how many articles stand in it, those that are hidden included."""
    with open_database(load_settings()).connect() as conn:
        found = read_listed(conn)
    if not found and not as_json:
        click.echo(HOW_TO_FILL)
        return
    print_rows([row._asdict() for row in found], as_json=as_json)
