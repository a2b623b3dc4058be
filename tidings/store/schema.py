"""Says whether a program can use the database that it finds.

Old and new processes run side by side during an upgrade, and an old one may restart when the
database is new already. So the database itself says, in `schema_reader`, how old a program may be;
the old program cannot know what the new schema took away. Rejected: only ever the same revision,
by which each upgrade stops the site.

Each start asks, so what Alembic would tell is read from the names of the migrations: Alembic takes
longer to import than a start has time for.

    check_schema(engine)  # raises SchemaError if this program is too old for it, or too new
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, SmallInteger, Table, inspect, select, text

from tidings.process.errors import CannotStartError
from tidings.store.metadata import MYSQL, metadata

VERSIONS = Path(__file__).parent / "migrations" / "versions"

schema_reader = Table(
    "schema_reader",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
    Column(
        "min_reader",
        SmallInteger,
        nullable=False,
        comment="number of the oldest schema whose programs can use this one",
    ),
    **MYSQL,
)


class SchemaError(CannotStartError):
    """The database's schema is not one that this program can use."""


def check_schema(engine: Engine) -> None:
    """Raises:
    SchemaError: the database is at an older revision than this program needs, or at a newer one
        that is not marked as one that this program can use.
    """
    with engine.connect() as conn:
        current = current_revision(conn)
        known = known_revisions()
        if current == known[-1]:
            return
        if current is None or current in known:
            raise SchemaError(
                f"the database schema is at revision {current or 'none'}, this program needs "
                f"{known[-1]}; run `tidings migrate`"
            )
        refuse_unless_marked(conn, current)


def refuse_unless_marked(conn: Connection, current: str) -> None:
    """Raises:
    SchemaError: the database does not say that this program can use its `current` revision.
    """
    needed = known_revisions()[-1]
    is_marked = inspect(conn).has_table(schema_reader.name)
    min_reader = conn.scalar(select(schema_reader.c.min_reader)) if is_marked else None
    if min_reader is None or min_reader > int(needed):
        raise SchemaError(
            f"the database is at revision {current}, which this version of Tidings does not know "
            f"and cannot use: its schema is {needed}; start a newer version"
        )


def current_revision(conn: Connection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    revision: str | None = conn.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@cache
def known_revisions() -> list[str]:
    """Those that this program has migrations for, oldest first."""
    return sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))
