"""Which errors pass by themselves: decided by code, since PyMySQL calls what it does not know
operational."""

from __future__ import annotations

import sqlite3

import pymysql
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobs.delayed.failures import is_passing


def wrap(orig: Exception, *, lost: bool = False) -> DBAPIError:
    return OperationalError("UPDATE", {}, orig, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (1213, "deadlock"),
        (1205, "lock_wait"),
        (1290, "read_only"),
        (1040, "refused"),
        (2013, "connection"),
    ],
)
def test_what_passes_has_a_word(code: int, cause: str) -> None:
    assert cause == is_passing(wrap(pymysql.OperationalError(code, "…")))


@pytest.mark.parametrize("code", [1054, 1146, 4025, 3819])
def test_a_violated_check_or_a_missing_column_stays(code: int) -> None:
    """CHECK violations reach us as OperationalError, like a lost connection."""
    assert is_passing(wrap(pymysql.OperationalError(code, "…"))) is None


def test_a_lost_connection_passes_whatever_its_code() -> None:
    assert is_passing(wrap(pymysql.InterfaceError(0, ""), lost=True)) == "connection"


def test_a_full_pool_passes() -> None:
    assert is_passing(PoolTimeout("no connection")) == "pool"


def test_sqlite_busy_passes_and_a_constraint_does_not(tmp_path: object) -> None:
    with (
        sqlite3.connect(f"{tmp_path}/db", timeout=0) as one,
        sqlite3.connect(f"{tmp_path}/db", timeout=0) as two,
    ):
        one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
        one.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as busy:
            two.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(sqlite3.IntegrityError) as twice:
            one.execute("INSERT INTO t VALUES (1)")
    one.close()
    two.close()
    assert is_passing(wrap(busy.value)) == "lock_wait"
    assert is_passing(IntegrityError("INSERT", {}, twice.value)) is None
