"""Brings a database to the newest schema, once, however many processes try at the same time.

MySQL commits each DDL statement by itself, so two migrations at once would meet half-way: a named
server lock lets one through and the other finds nothing left to do. SQLite has one writer: the
first transaction to begin is the one that migrates.

    migrate(engine)  # "0008"
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select, text

from tidings.store.metadata import metadata
from tidings.store.schema import (
    SchemaError,
    current_revision,
    known_revisions,
    refuse_unless_marked,
    schema_reader,
)

LOCK_WAIT_S = 60


def migrate(engine: Engine) -> str:
    """Upgrade to the newest revision and return the one the database has then: a newer one that
    this program can use is left as it is. Safe to run twice, and from two processes at once.

    Raises:
        SchemaError: another migration has held the lock for a minute, or the database is too new
            for this program.
    """
    with _migration_lock(engine) as conn:
        current = current_revision(conn)
        if current is not None and current not in known_revisions():
            refuse_unless_marked(conn, current)
            return current
        config = _config(conn)
        head = ScriptDirectory.from_config(config).get_revision("head")
        assert head is not None
        # First, so that an old process that starts while this works is refused in time.
        _write_min_reader(conn, head)
        command.upgrade(config, "head")
        _write_min_reader(conn, head)
        return str(head.revision)


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


def _write_min_reader(conn: Connection, head: Script) -> None:
    if not inspect(conn).has_table(schema_reader.name):
        return
    row = {"id": 1, "min_reader": head.module.min_reader}
    stated = conn.scalar(select(schema_reader.c.min_reader))
    if stated is None:
        conn.execute(schema_reader.insert().values(row))
    elif stated != row["min_reader"]:  # else nothing is written, which a full disk would refuse
        conn.execute(schema_reader.update().values(row))


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
