"""The one rule of contention: which failures of the database pass, and how work is tried again.

Deadlocks, full pools and lost connections pass by themselves, so the same transaction may be run
again; a missing column or a violated rule stays, and trying it again hides a defect. PyMySQL calls
every code it has no name for an OperationalError, a violated CHECK among them, so the code decides
and never the class. Pauses grow and are drawn by lot, which parts contenders; attempts are counted,
and none begins that the deadline of the request would end. Rejected: retrying every error that
comes from the database; a poisoned row would be tried for ever.

    created = run_again(lambda: write_batch(engine, rows), passes=is_overtaken)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tidings.process.deadline import current_deadline

T = TypeVar("T")
# A word for the cause of an error that passes, None for one that stays.
Passes = Callable[[SQLAlchemyError], str | None]

_MYSQL = {
    1020: "deadlock",  # the row changed since it was read
    1205: "lock_wait",
    1213: "deadlock",
    1040: "refused",  # too many connections
    1203: "refused",
    1226: "refused",
    1290: "read_only",
    1792: "read_only",
    1836: "read_only",
    1053: "connection",  # shutting down
    1158: "connection",
    1159: "connection",
    1160: "connection",
    1161: "connection",
    1317: "connection",  # the query was killed
    1927: "connection",  # the connection was killed
    2002: "connection",
    2003: "connection",
    2006: "connection",
    2013: "connection",
    2055: "connection",
    4031: "connection",  # idle for too long
}
# Primary result codes; sqlite3.SQLITE_BUSY and so on.
_SQLITE = {5: "lock_wait", 6: "lock_wait", 8: "read_only", 10: "disk", 13: "disk", 14: "disk"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often work is tried, and the longest pause after its first failure; pauses double."""

    attempts: int
    first_pause_s: float


# Others hold the same rows, for milliseconds.
CONTENTION = Patience(attempts=5, first_pause_s=0.05)
# A server is starting again, which takes seconds.
OUTAGE = Patience(attempts=5, first_pause_s=0.5)


def is_passing(ex: SQLAlchemyError) -> str | None:
    """A word for the cause if the same work may succeed with no change by anyone; None if not."""
    if isinstance(ex, PoolTimeout):
        return "pool"
    if not isinstance(ex, DBAPIError):
        return None
    if ex.connection_invalidated:
        return "connection"
    sqlite_code = getattr(ex.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return _SQLITE.get(sqlite_code & 0xFF)
    arguments = getattr(ex.orig, "args", ())
    return _MYSQL.get(arguments[0]) if arguments and isinstance(arguments[0], int) else None


def is_overtaken(ex: SQLAlchemyError) -> str | None:
    """As `is_passing`, for work that looks before it inserts: a row that another writer put there
    between the two is seen by the next look, so a violated key passes as well."""
    return "overtaken" if isinstance(ex, IntegrityError) else is_passing(ex)


def run_again(
    work: Callable[[], T],
    *,
    passes: Passes = is_passing,
    patience: Patience = CONTENTION,
    wait: Callable[[float], object] = time.sleep,
    on_failure: Callable[[str, SQLAlchemyError], object] | None = None,
) -> T:
    """Do `work`, a transaction of its own, and again while it fails for a reason that passes.

    Args:
        work: begins anew on each call; what it did before it failed was rolled back.
        passes: tells the failures that pass.
        patience: how often, and with which pauses.
        wait: sleeps so many seconds; a true answer ends the attempts, as the stopping of a process
            does with `Event.wait`.
        on_failure: told each failure that passes, the last one too; a warning is logged otherwise.

    Raises:
        SQLAlchemyError: the failure stays, or passed too slowly for this patience or deadline.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            return work()
        except SQLAlchemyError as ex:
            cause = passes(ex)
            if cause is None:
                raise
            (on_failure or _warn)(cause, ex)
            pause_s = _draw_pause_s(patience, attempt)
            if attempt == patience.attempts or not _is_time_for(pause_s) or wait(pause_s):
                raise
    raise AssertionError("the last attempt returns or raises")


def _draw_pause_s(patience: Patience, attempt: int) -> float:
    # A tenth at least: two contenders that go on at once only meet again.
    longest_s = patience.first_pause_s * 2.0 ** (attempt - 1)
    return random.uniform(0.1, 1) * longest_s  # noqa: S311 - parts contenders


def _is_time_for(pause_s: float) -> bool:
    deadline = current_deadline()
    return deadline is None or deadline.remaining_ms() > pause_s * 1000


def _warn(cause: str, ex: SQLAlchemyError) -> None:
    log.warning("database_retried", cause=cause, error=str(getattr(ex, "orig", ex)))
