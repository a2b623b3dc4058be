"""Rows for people, on a terminal or through a pipe, and for programs as one JSON object a line.

Nothing is ever cut off: rich's tables shorten names, to `TIDINGS_DATABASE_PO…`, where a terminal is
narrow and in every pipe; and a name is what has to be typed next. A program reads lines and needs
no more than the first; one array would have to be read to its end.

    @click.command("list")
    @json_option
    def list_things(*, as_json: bool) -> None:
        print_rows([{"id": 1, "name": "first"}], as_json=as_json)
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import click
import msgspec
from rich.cells import cell_len, set_cell_size

_GAP = "  "

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line instead of a table."
)

# A larger one fits into no database's column.
ID = click.IntRange(max=2**63 - 1)


def print_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows that have the same names as a table for people, or as JSON for programs."""
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows])
    else:
        click.echo("nothing to show")


def print_json(rows: Iterable[object]) -> None:
    """Print each row as one line of JSON. A row is a mapping, a dataclass or a msgspec struct."""
    for row in rows:
        click.echo(msgspec.json.encode(row).decode())


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under their names; where a row is wider than the terminal, its last column
    stands below it."""
    lines = [tuple(names), *(tuple(map(_plain, row)) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    columns = shutil.get_terminal_size().columns
    is_wide = not sys.stdout.isatty() or sum(widths) + len(_GAP) * (len(widths) - 1) <= columns
    for number, line in enumerate(lines):
        *first, last = line
        start = _GAP.join(
            set_cell_size(cell, width) for cell, width in zip(first, widths[:-1], strict=True)
        )
        if is_wide:
            click.echo(f"{start}{_GAP}{last}".rstrip())
        else:
            click.echo(start.rstrip())
            if number and last:
                click.echo(
                    textwrap.fill(last, columns, initial_indent="    ", subsequent_indent="    ")
                )


def _plain(cell: str) -> str:
    """One line of it, which tells a terminal nothing but its text."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in cell).split())


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    return "" if value is None else str(value)
