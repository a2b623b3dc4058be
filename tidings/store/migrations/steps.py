"""Steps of a migration that look first whether they are done.

MySQL and MariaDB commit each change of a table by itself, so a migration that is killed half-way
has made some of its changes and is not noted as done; run again, it has to go on from there rather
than fail at the first table that is there already. Rejected: `IF NOT EXISTS` in the statements,
which MySQL knows for tables only.

    add_column("refund", sa.Column("error", sa.String(255)))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *parts: Any, **options: Any) -> None:
    """`op.create_table`, without indexes, since each of those is a change of its own."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **options)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """`op.add_column`."""
    if column.name not in {known["name"] for known in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)


def create_index(
    name: str, table: str, columns: Sequence[str], *, unique: bool = False, **options: Any
) -> None:
    """`op.create_index`."""
    if name not in {known["name"] for known in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns), unique=unique, **options)
