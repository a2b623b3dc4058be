"""One holder at a time, across processes, freed by the system the moment the holder dies.

MySQL's GET_LOCK belongs to a connection and ends with it (13 ms after a kill -9); SQLite has none,
so the lock is `flock` on a file beside the database. Rejected: a lease in a table or in Redis; a
lease outlives its holder when that dies and is outlived when that is merely slow.

    with exclusive(engine, "job.pages") as held: ...
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)


@contextmanager
def exclusive(engine: Engine, name: str) -> Iterator[bool]:
    """Yields True while this process holds the lock `name`; False, at once, if another process
    does."""
    if engine.dialect.name == "sqlite":
        with _file_lock(f"{engine.url.database}.{name}.lock") as held:
            yield held
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        # Locks are the server's, not the database's: two sites on one server must not meet.
        key = f"{engine.url.database}.{name}"[-64:]
        held = conn.execute(text("SELECT GET_LOCK(:key, 0)"), {"key": key}).scalar() == 1
        try:
            yield held
        finally:
            if held:
                _release(conn, key)


def _release(conn: Connection, key: str) -> None:
    try:
        conn.execute(text("SELECT RELEASE_LOCK(:key)"), {"key": key})
    except SQLAlchemyError as ex:
        # Back in the pool it might still hold the lock.
        conn.invalidate()
        log.warning("job_lock_connection_lost", lock=key, error=str(ex.__cause__ or ex))


@contextmanager
def _file_lock(path: str) -> Iterator[bool]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
