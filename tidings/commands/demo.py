"""`tidings demo`: example articles, and readers who are simulated.

tidings demo
"""

from __future__ import annotations

import click

from tidings.demo.load import is_empty, load_demo
from tidings.process.clock import now_ms
from tidings.process.settings import Settings, load_settings
from tidings.store.opening import open_database


@click.command()
def demo() -> None:
    """Add the example articles and their simulated readers."""
    click.echo(load_demo(open_database(load_settings()), now_ms))


def load_demo_once(settings: Settings) -> str:
    """Fill an empty site; returns a line about it."""
    engine = open_database(settings)
    try:
        if is_empty(engine):
            return load_demo(engine, now_ms)
        return "demo: this site has articles, none were added"
    finally:
        engine.dispose()
