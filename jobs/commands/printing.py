"""What every `tidings jobs` command does alike: open the database, and print rows for people or for
programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from sqlalchemy import Engine

from tidings.commands.printing import print_table
from tidings.process.settings import load_settings
from tidings.store.opening import open_database

as_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line instead of a table."
)


def open_engine() -> Engine:
    """The engine of the settings in the environment.

    Raises:
        CannotStartError: one line and exit code 2, by the `tidings` command.
    """
    return open_database(load_settings())


def show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows as a table for people, or as JSON lines for programs."""
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
        return
    if not rows:
        click.echo("nothing to show")
        return
    print_table(list(rows[0]), [_cells(row.values()) for row in rows])


def _cells(values: Iterable[Any]) -> list[str]:
    return [
        f"{value:%Y-%m-%d %H:%M:%S}Z"
        if isinstance(value, datetime)
        else ""
        if value is None
        else str(value)
        for value in values
    ]
