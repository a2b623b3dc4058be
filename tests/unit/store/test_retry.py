"""Which errors pass by themselves, decided by code, since PyMySQL calls what it does not know
operational; and how work that met one is done again."""

from __future__ import annotations

import re
import sqlite3
import threading
from pathlib import Path

import pymysql
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tidings.process.deadline import Deadline, deadline_scope
from tidings.store.retry import CONTENTION, OUTAGE, Patience, is_overtaken, is_passing, run_again

ROOT = Path(__file__).parents[3]


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


def deadlock() -> DBAPIError:
    return wrap(pymysql.OperationalError(1213, "Deadlock found"))


class Work:
    """Fails so many times before it succeeds, and counts its attempts."""

    def __init__(self, failures: int, ex: SQLAlchemyError) -> None:
        self.attempts = 0
        self._failures = failures
        self._ex = ex

    def __call__(self) -> int:
        self.attempts += 1
        if self.attempts <= self._failures:
            raise self._ex
        return self.attempts


def test_work_that_meets_a_deadlock_is_done_again() -> None:
    pauses: list[float] = []

    assert run_again(Work(2, deadlock()), wait=pauses.append) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("patience", [CONTENTION, OUTAGE])
def test_pauses_are_drawn_from_bounds_that_double(patience: Patience) -> None:
    """Two contenders that paused equally long would meet again."""
    runs: list[list[float]] = []
    for _ in range(20):
        pauses: list[float] = []
        with pytest.raises(OperationalError):
            run_again(Work(99, deadlock()), patience=patience, wait=pauses.append)
        runs.append(pauses)

    assert all(len(pauses) == patience.attempts - 1 for pauses in runs)
    for pauses in runs:
        for n, pause_s in enumerate(pauses):
            longest_s = patience.first_pause_s * 2**n
            assert longest_s / 10 <= pause_s <= longest_s
    assert len({pauses[0] for pauses in runs}) > 1


def test_a_failure_that_stays_is_raised_at_once() -> None:
    work = Work(1, wrap(pymysql.OperationalError(1054, "Unknown column")))

    with pytest.raises(OperationalError):
        run_again(work)
    assert work.attempts == 1


def test_a_key_that_another_writer_was_faster_to_take_passes_only_for_work_that_looks_first() -> (
    None
):
    taken = IntegrityError("INSERT", {}, pymysql.IntegrityError(1062, "Duplicate entry"))

    assert run_again(Work(1, taken), passes=is_overtaken, wait=lambda _: None) == 2
    with pytest.raises(IntegrityError):
        run_again(Work(1, taken))


def test_no_attempt_begins_that_the_deadline_would_end() -> None:
    work = Work(99, deadlock())

    with deadline_scope(Deadline.after_ms(1)), pytest.raises(OperationalError):
        run_again(work)
    assert work.attempts == 1


def test_a_process_that_stops_tries_no_more() -> None:
    work, stopping = Work(99, deadlock()), threading.Event()
    stopping.set()

    with pytest.raises(OperationalError):
        run_again(work, wait=stopping.wait)
    assert work.attempts == 1


def test_each_failure_is_told_by_its_cause() -> None:
    causes: list[str] = []

    run_again(
        Work(2, deadlock()), wait=lambda _: None, on_failure=lambda cause, _: causes.append(cause)
    )

    assert causes == ["deadlock", "deadlock"]


def test_no_other_module_judges_by_a_code_which_failures_pass() -> None:
    """Three modules did, each by a list of its own."""
    codes = re.compile(r"\b(1205|1213|1927|2013)\b|database is locked|SQLITE_BUSY\b")
    packages = ("tidings", "gateway", "services", "jobs")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]

    assert [str(path.relative_to(ROOT)) for path in modules if codes.search(path.read_text())] == [
        "tidings/store/retry.py"
    ]
