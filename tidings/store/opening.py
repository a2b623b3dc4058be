"""Opens the database of a site at start, or says in one line why it cannot be used.

A process that meets a database of another age fails in its first query, far from the cause. So a
program opens the database here before it serves, and an operator reads which setting to change or
which command to run. Rejected: to migrate on opening; ten workers that start together would all
try, and a schema changes when an operator says so.

    engine = open_database(load_settings())
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from tidings.process.errors import PREFIX, CannotStartError
from tidings.process.settings import Settings
from tidings.store.engine import make_engine
from tidings.store.schema import check_schema


def open_database(settings: Settings) -> Engine:
    """An engine on a database that answers and has this program's schema.

    Raises:
        CannotStartError: it is not there, does not answer, or has another schema.
    """
    _refuse_missing_file(settings)
    with _database_can_be_used(settings):
        engine = make_engine(settings.database)
        check_schema(engine)
    return engine


def migrate_database(settings: Settings) -> str:
    """Bring the database to the newest schema; returns its revision. Safe to run twice, and from
    two places at once.

    Raises:
        CannotStartError: it does not answer, or is newer than this program.
    """
    # Only now: a program that opens a database needs no Alembic, which is slow to import.
    from tidings.store.migrate import migrate

    with _database_can_be_used(settings):
        _make_private_file(settings)
        engine = make_engine(settings.database)
        try:
            return migrate(engine)
        finally:
            engine.dispose()


def _refuse_missing_file(settings: Settings) -> None:
    # SQLite would make an empty one, and the next command would take that for a site.
    path = _sqlite_file(settings)
    if path is None or path.exists():
        return
    if "database_url" in settings.given:
        raise CannotStartError(
            f"{PREFIX}DATABASE_URL: cannot use {settings.database.url}: there is no such file; "
            "to make it, run `tidings migrate`"
        )
    raise CannotStartError(
        f"there is no site in {settings.site.var_dir.absolute()}: name one by --site DIR or "
        f"{PREFIX}VAR_DIR, or make this one: run `tidings migrate` or `tidings up`"
    )


def _make_private_file(settings: Settings) -> None:
    """SQLite gives the files beside a database the mode of the database."""
    path = _sqlite_file(settings)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sqlite_file(settings: Settings) -> Path | None:
    url = make_url(settings.database.url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


@contextmanager
def _database_can_be_used(settings: Settings) -> Iterator[None]:
    where = make_url(settings.database.url).render_as_string(hide_password=True)
    try:
        yield
    except SQLAlchemyError as ex:
        raise CannotStartError(f"{PREFIX}DATABASE_URL: cannot use {where}: {_cause(ex)}") from None
    except OSError as ex:  # the folder of SQLite's file
        raise CannotStartError(f"{PREFIX}DATABASE_URL: cannot use {where}: {ex.strerror}") from None


def _cause(ex: SQLAlchemyError) -> str:
    cause = getattr(ex, "orig", None) or ex
    return str(cause.args[-1]) if cause.args else type(cause).__name__
