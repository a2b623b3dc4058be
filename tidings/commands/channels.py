"""`tidings channels`: the parts of the site. An import opens them by what its rows say, and an
editor by hand.

    tidings channels merge physics --into science
"""

from __future__ import annotations

import click

from tidings.commands.articles import HOW_TO_FILL
from tidings.commands.changing import change, find_channel
from tidings.commands.printing import json_option, print_rows
from tidings.editing import channels as editing
from tidings.editing.acting import Act
from tidings.news.listing import list_channels as read_listed
from tidings.process.settings import load_settings
from tidings.store.opening import open_database

_CHANNEL = click.argument("channel")


@click.group()
def channels() -> None:
    """The parts of the site. CHANNEL is a number or a slug."""


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


@channels.command()
@click.argument("name")
def add(name: str) -> None:
    """Open a channel."""
    opened = change(lambda act: editing.add(act, name))
    click.echo(f"channel {opened.channel_id} is open: {opened.slug}")


@channels.command()
@_CHANNEL
@click.argument("name")
def rename(channel: str, name: str) -> None:
    """Have readers see another name. Files and feeds go on calling it by its slug."""
    renamed = change(lambda act: editing.rename(act, find_channel(act.conn, channel), name))
    click.echo(f"channel {renamed.channel_id} is called {renamed.name}")


@channels.command()
@_CHANNEL
@click.option("--into", required=True, help="The other channel: its number or its slug.")
def merge(channel: str, into: str) -> None:
    """Have all that stands in CHANNEL stand in another, and what files and feeds bring for it."""

    def work(act: Act) -> int:
        conn = act.conn
        return editing.merge(act, find_channel(conn, channel), into=find_channel(conn, into))

    click.echo(f"{change(work)} articles of {channel} stand in {into}")


@channels.command()
@_CHANNEL
def delete(channel: str) -> None:
    """Delete a channel in which no article stands."""
    change(lambda act: editing.delete(act, find_channel(act.conn, channel)))
    click.echo(f"channel {channel} is deleted")
