"""Rows for people, on a terminal or through a pipe: nothing is ever cut off.

rich's tables shorten names, to `TIDINGS_DATABASE_PO…`, where a terminal is narrow and in every
pipe; and a name is what has to be typed next.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

import click
from rich.cells import cell_len, set_cell_size

_GAP = "  "


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
