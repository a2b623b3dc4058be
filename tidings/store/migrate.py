"""Brings a database to the newest schema, once, however many processes try at the same time.

MySQL commits each DDL statement by itself, so two migrations at once would meet half-way: a named
server lock lets one through and the other finds nothing left to do. SQLite has one writer: the
first transaction to begin is the one that migrates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from tidings.process.settings import CannotStartError

LOCK_WAIT_S = 60


class SchemaError(CannotStartError):
    """The database's schema is not the one this program was written for."""


def migrate(engine: Engine) -> str:
    """Upgrade to the newest revision and return its id. Safe to run twice, and from two processes
    at once.

    Raises:
        SchemaError: another migration has held the lock for a minute, or the database is newer than
            this program.
    """
    with _migration_lock(engine) as conn:
        current = _current_revision(conn)
        script = ScriptDirectory.from_config(_config(conn))
        if current is not None and current not in {
            revision.revision for revision in script.walk_revisions()
        }:
            raise SchemaError(
                f"the database is at revision {current}, which this version of Tidings does "
                "not know"
            )
        command.upgrade(_config(conn), "head")
        return str(script.get_current_head())


def check_schema(engine: Engine) -> None:
    """Raises:
    SchemaError: unless the database is at the revision this program was written for.
    """
    with engine.connect() as conn:
        current = _current_revision(conn)
        head = ScriptDirectory.from_config(_config(conn)).get_current_head()
    if current != head:
        raise SchemaError(
            f"the database schema is at revision {current or 'none'}, this program needs {head}; "
            "run `tidings migrate`"
        )


def lock_name(engine: Engine) -> str:
    """Named locks belong to the server, not to the database; their names have 64 characters at
    most."""
    return f"tidings.migrate:{engine.url.database}"[:64]


def _config(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    config.attributes["connection"] = conn
    return config


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
