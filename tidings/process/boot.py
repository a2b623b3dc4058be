"""How every process starts: settings, a folder to write in, a database of the right age. Or one
line and exit code 2.

A process that cannot do its work must say so at start, in words an operator can act on, and not
with a traceback or with its first reader. So whatever prevents a start raises `CannotStartError`,
and `start` prints it.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from tidings.process.logs import configure_logging
from tidings.process.settings import PREFIX, CannotStartError, Settings, load_settings, split_bind
from tidings.store.engine import make_engine
from tidings.store.migrate import check_schema, migrate

EXIT_CANNOT_START = 2


def start(process: str, run: Callable[[Settings], int]) -> int:
    """Read the settings, set up logging, and `run`; returns the exit code of the process."""
    try:
        settings = load_settings()
        prepare_var_dir(settings)
        configure_logging(settings, process)
        return run(settings)
    except CannotStartError as ex:
        print(f"{process}: {ex}", file=sys.stderr)
        return EXIT_CANNOT_START


def prepare_var_dir(settings: Settings) -> None:
    """Make the folder for run-time files.

    Raises:
        CannotStartError: nothing can be written there.
    """
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.var_dir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as ex:
        raise CannotStartError(
            f"{PREFIX}VAR_DIR: cannot write in {settings.var_dir.absolute()}: {ex.strerror}"
        ) from None


def open_database(settings: Settings) -> Engine:
    """An engine on a database that answers and has this program's schema.

    Raises:
        CannotStartError: it does not answer, or its schema is another one.
    """
    with _database_can_be_used(settings):
        engine = make_engine(settings)
        check_schema(engine)
    return engine


def migrate_database(settings: Settings) -> str:
    """Bring the database to the newest schema; returns its revision. Safe to run twice, and from
    two places at once.

    Raises:
        CannotStartError: it does not answer, or is newer than this program.
    """
    with _database_can_be_used(settings):
        engine = make_engine(settings)
        try:
            return migrate(engine)
        finally:
            engine.dispose()


@contextmanager
def _database_can_be_used(settings: Settings) -> Iterator[None]:
    where = make_url(settings.database_url).render_as_string(hide_password=True)
    try:
        yield
    except SQLAlchemyError as ex:
        raise CannotStartError(f"{PREFIX}DATABASE_URL: cannot use {where}: {_cause(ex)}") from None
    except OSError as ex:  # the folder of SQLite's file
        raise CannotStartError(f"{PREFIX}DATABASE_URL: cannot use {where}: {ex.strerror}") from None


def check_bind(key: str, bind: str) -> None:
    """Raises: CannotStartError: the address cannot be listened on. `key` is the setting it came
    from, without prefix.
    """
    if bind.startswith("unix:"):
        return
    host, port = split_bind(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as ex:
            raise cannot_bind(key, bind, ex) from None


def cannot_bind(key: str, bind: str, ex: OSError) -> CannotStartError:
    """What to tell an operator about an address that could not be had."""
    reason = (
        "another program listens there" if ex.errno == errno.EADDRINUSE else ex.strerror or str(ex)
    )
    return CannotStartError(f"{PREFIX}{key}: cannot listen on {bind}: {reason}")


def _cause(ex: SQLAlchemyError) -> str:
    cause = getattr(ex, "orig", None) or ex
    return str(cause.args[-1]) if cause.args else type(cause).__name__
