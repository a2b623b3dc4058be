"""Brings a database to the newest schema, once, however many processes try at the same time; and
says whether a program can use the schema that it finds.

MySQL commits each DDL statement by itself, so two migrations at once would meet half-way: a named
server lock lets one through and the other finds nothing left to do. SQLite has one writer: the
first transaction to begin is the one that migrates.

Old and new processes run side by side during an upgrade, and an old one may restart when the
database is new already. So the database itself says, in `schema_reader`, how old a program may be;
the old program cannot know what the new schema took away. Rejected: only ever the same revision,
by which each upgrade stops the site.

    migrate(engine)       # "0004"
    check_schema(engine)  # raises SchemaError if this program is too old for it, or too new
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Column, Connection, Engine, SmallInteger, Table, inspect, select, text

from tidings.process.errors import CannotStartError
from tidings.store.metadata import MYSQL, metadata

LOCK_WAIT_S = 60

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


def migrate(engine: Engine) -> str:
    """Upgrade to the newest revision and return the one the database has then: a newer one that
    this program can use is left as it is. Safe to run twice, and from two processes at once.

    Raises:
        SchemaError: another migration has held the lock for a minute, or the database is too new
            for this program.
    """
    with _migration_lock(engine) as conn:
        current = _current_revision(conn)
        head, known = _head_and_known(conn)
        if current is not None and current not in known:
            _refuse_unless_marked(conn, current, head)
            return current
        # First, so that an old process that starts while this works is refused in time.
        _write_min_reader(conn, head)
        command.upgrade(_config(conn), "head")
        _write_min_reader(conn, head)
        return str(head.revision)


def check_schema(engine: Engine) -> None:
    """Raises:
    SchemaError: the database is at an older revision than this program needs, or at a newer one
        that is not marked as one that this program can use.
    """
    with engine.connect() as conn:
        current = _current_revision(conn)
        head, known = _head_and_known(conn)
        if current == head.revision:
            return
        if current is None or current in known:
            raise SchemaError(
                f"the database schema is at revision {current or 'none'}, this program needs "
                f"{head.revision}; run `tidings migrate`"
            )
        _refuse_unless_marked(conn, current, head)


def lock_name(engine: Engine) -> str:
    """Named locks belong to the server, not to the database; their names have 64 characters at
    most."""
    return f"tidings.migrate:{engine.url.database}"[:64]


def _config(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    config.attributes["connection"] = conn
    config.attributes["metadata"] = metadata
    return config


def _head_and_known(conn: Connection) -> tuple[Script, set[str]]:
    script = ScriptDirectory.from_config(_config(conn))
    head = script.get_revision("head")
    assert head is not None
    return head, {revision.revision for revision in script.walk_revisions()}


def _write_min_reader(conn: Connection, head: Script) -> None:
    if not inspect(conn).has_table(schema_reader.name):
        return
    row = {"id": 1, "min_reader": head.module.min_reader}
    stated = conn.scalar(select(schema_reader.c.min_reader))
    if stated is None:
        conn.execute(schema_reader.insert().values(row))
    elif stated != row["min_reader"]:  # else nothing is written, which a full disk would refuse
        conn.execute(schema_reader.update().values(row))


def _refuse_unless_marked(conn: Connection, current: str, head: Script) -> None:
    is_marked = inspect(conn).has_table(schema_reader.name)
    min_reader = conn.scalar(select(schema_reader.c.min_reader)) if is_marked else None
    if min_reader is None or min_reader > int(head.revision):
        raise SchemaError(
            f"the database is at revision {current}, which this version of Tidings does not know "
            f"and cannot use: its schema is {head.revision}; start a newer version"
        )


def _current_revision(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


@contextmanager
def _migration_lock(engine: Engine) -> Iterator[Connection]:
    if engine.dialect.name == "sqlite":
        with engine.execution_options(writes=True).begin() as conn:
            yield conn
        return
    name = lock_name(engine)
    with engine.connect() as conn:
        locked = conn.execute(
            text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": LOCK_WAIT_S}
        )
        if locked.scalar() != 1:
            raise SchemaError(
                f"another migration has been running for {LOCK_WAIT_S} s; try again when it has "
                "ended"
            )
        conn.commit()
        try:
            yield conn
            conn.commit()
        finally:
            conn.rollback()
            conn.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
