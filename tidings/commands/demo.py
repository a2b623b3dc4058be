"""`tidings demo`: an example to look at, and the way to be rid of it.

`remove` takes away what `load` brought, and nothing else.

    print(load_demo_once(settings))  # what `tidings demo load` says
"""

from __future__ import annotations

import click
from sqlalchemy import Engine

from tidings.commands.changing import open_articles
from tidings.demo.illustrating import Shelf
from tidings.demo.load import load_demo
from tidings.demo.removal import REMOVE, remove_demo
from tidings.editing.acting import shell_actor
from tidings.editing.audit import find_entries
from tidings.news.articles import Articles
from tidings.news.images import FOLDER, Images
from tidings.news.listing import has_articles
from tidings.process.boot import prepare_var_dir
from tidings.process.clock import now_ms
from tidings.process.settings import Settings, load_settings


@click.group()
def demo() -> None:
    """Example articles, editions on sale, and simulated readers."""


@demo.command()
def load() -> None:
    """Add the example. Again, it only gives the example's articles new dates."""
    settings = load_settings()
    with open_articles(settings) as (engine, stored):
        click.echo(_load(settings, engine, stored))


@demo.command()
def remove() -> None:
    """Take the example away, and nothing else."""
    settings = load_settings()
    with open_articles(settings) as (engine, stored):
        actor = shell_actor().name
        click.echo(remove_demo(engine, stored, _shelf(settings), actor=actor))


def load_demo_once(settings: Settings) -> str:
    """What `tidings up` does: an example for a site without articles, unless it was removed from
    there; returns a line about it."""
    with open_articles(settings) as (engine, stored):
        with engine.connect() as conn:
            if has_articles(conn):
                return "demo: this site has articles, none were added"
            if any(entry.verb == REMOVE for entry in find_entries(conn, limit=1, nouns={"demo"})):
                return "demo: it was removed from this site; `tidings demo load` brings it back"
        return _load(settings, engine, stored)


def _load(settings: Settings, engine: Engine, stored: Articles) -> str:
    prepare_var_dir(settings)
    return load_demo(engine, stored, _shelf(settings), now_ms, actor=shell_actor().name)


def _shelf(settings: Settings) -> Shelf:
    folder = settings.site.var_dir / FOLDER
    return Shelf(Images(folder), settings.content.images_max_bytes)
