"""Runs due delayed jobs a batch at a time, each batch one transaction with what its handler
changes.

Claim, act, delete, commit: a daemon that dies anywhere in between leaves rows that the next look
finds again, and a commit whose answer was lost is harmless, since what it did is no longer due.
When a batch fails for a reason of its own, its rows are run one by one, so that one poisoned row
delays no other. An errand, whose effect is outside of the database, is lent and run by itself.
Rejected: one transaction a row; a commit for each order is fifty times slower.

    done = Batches(engine, handlers, ClockGuard(), threading.Event()).drain("order_timeout")
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from jobs.delayed.clock_guard import ClockGuard
from jobs.errands import Errand
from jobs.handlers import Handler
from jobs.static.runs import read_now
from tidings.process.deadline import Deadline, deadline_scope
from tidings.store import delayed_due
from tidings.store.delayed import DelayedJob
from tidings.store.engine import transaction
from tidings.store.retry import is_passing, run_again
from tidings.talk.notices import OPERATORS, NoticeType, notify

# More would hold up the readers who want one of these orders, and gain little; fewer cost a commit
# more often.
BATCH_ROWS = 500

log = structlog.get_logger(__name__)
_LATENESS = Histogram(
    "tidings_jobs_lateness_seconds",
    "How long after its moment a delayed job was done",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600, 3600),
)
_BATCH_ROWS = Histogram(
    "tidings_jobs_batch_rows", "Rows of a batch", ["kind"], buckets=(1, 5, 20, 50, 100, 200, 500)
)
_ENDED = Counter("tidings_jobs_delayed", "Delayed jobs by what became of them", ["kind", "outcome"])
_PASSING = Counter(
    "tidings_jobs_passing_errors", "Batches rolled back to go again, by cause", ["cause"]
)


@dataclass(frozen=True, slots=True)
class Batches:
    """Executes delayed jobs of the kinds it has handlers for."""

    engine: Engine
    handlers: Mapping[str, Handler | Errand]
    guard: ClockGuard
    stopping: threading.Event

    def drain(self, kind: str) -> int:
        """Run batches of this kind until one comes back less than full; returns how many jobs were
        done."""
        handler = self.handlers[kind]
        if isinstance(handler, Errand):
            return self._run_errands(kind, handler)
        done = 0
        while not self.stopping.is_set():
            claimed = self._run_batch_with_retries(kind)
            done += claimed
            if claimed < BATCH_ROWS:
                break
        return done

    def _run_errands(self, kind: str, errand: Errand) -> int:
        """Run what is due, one after the other; returns how many were done."""
        done = 0
        while not self.stopping.is_set():
            borrow = partial(self._borrow, kind, errand)
            due, now = run_again(
                borrow, wait=self.stopping.wait, on_failure=partial(_tell_rolled_back, kind)
            )
            if not due:
                break
            (job,) = due
            try:
                with deadline_scope(Deadline.after_ms(errand.loan_s * 1000 / 2)):
                    errand.act(job.ref)
            except Exception as ex:  # noqa: BLE001 - the errand's own: recorded in its row, logged and counted
                self._put_off(kind, job.id, ex, errand)
                continue
            with transaction(self.engine) as conn:
                delayed_due.finish(conn, [job.id])
            _count_done(kind, due, now)
            done += 1
        return done

    def _borrow(self, kind: str, errand: Errand) -> tuple[list[DelayedJob], datetime]:
        """The row that has waited longest, if one is due, which no other daemon takes for a
        while."""
        with transaction(self.engine) as conn:
            now, is_believed = self._read_clock(conn)
            due = delayed_due.claim(conn, kind, now, limit=1) if is_believed else []
            until = now + timedelta(seconds=errand.loan_s)
            delayed_due.move(conn, {job.id: until for job in due})
        return due, now

    def _run_batch_with_retries(self, kind: str) -> int:
        try:
            return run_again(
                partial(self._run_batch, kind),
                wait=self.stopping.wait,
                on_failure=partial(_tell_rolled_back, kind),
            )
        except Exception as ex:  # noqa: BLE001 - the handler's own: some row of the batch it cannot do
            if isinstance(ex, SQLAlchemyError) and is_passing(ex):
                return 0
            return self._run_singly(kind, ex)

    def _run_batch(self, kind: str) -> int:
        with transaction(self.engine) as conn:
            now, is_believed = self._read_clock(conn)
            # Due, and judged, by the reading that was accepted: the clock may jump before the next
            # statement.
            due = delayed_due.claim(conn, kind, now, limit=BATCH_ROWS) if is_believed else []
            done = self._act(conn, kind, due, now=now)
        _count_done(kind, done, now)
        return len(due)

    def _read_clock(self, conn: Connection) -> tuple[datetime, bool]:
        """The database's clock, and whether it may be believed."""
        asked_at_s = self.guard.read_steady_s()
        now = read_now(conn)
        return now, self.guard.accepts(now, asked_at_s)

    def _act(
        self, conn: Connection, kind: str, due: Sequence[DelayedJob], *, now: datetime
    ) -> Sequence[DelayedJob]:
        """Those that are done with; the others have a later moment."""
        if not due:
            return ()
        handler = self.handlers[kind]
        assert not isinstance(handler, Errand)
        later = handler(conn, due, now)
        delayed_due.move(conn, later)
        done = [job for job in due if job.id not in later]
        delayed_due.finish(conn, [job.id for job in done])
        return done

    def _run_singly(self, kind: str, cause: Exception) -> int:
        """The rows of a failed batch, each in a transaction of its own; the guilty ones are put
        off."""
        log.warning("batch_split", kind=kind, error=repr(cause))
        with self.engine.connect() as conn:
            ids = delayed_due.find_due_ids(conn, kind, read_now(conn), limit=BATCH_ROWS)
        for job_id in ids:
            if self.stopping.is_set():
                break
            self._run_one(kind, job_id)
        # As if the batch had not been full: the next look decides how to go on.
        return 0

    def _run_one(self, kind: str, job_id: int) -> None:
        try:
            with transaction(self.engine) as conn:
                now, is_believed = self._read_clock(conn)
                due = delayed_due.claim_one(conn, kind, now, job_id=job_id) if is_believed else []
                done = self._act(conn, kind, due, now=now)
            _count_done(kind, done, now)
        except SQLAlchemyError as ex:
            cause = is_passing(ex)
            if cause is None:
                self._put_off(kind, job_id, ex)
            else:
                _PASSING.labels(cause).inc()
        except Exception as ex:  # noqa: BLE001 - the guilty row: recorded in it, logged and counted
            self._put_off(kind, job_id, ex)

    def _put_off(
        self, kind: str, job_id: int, cause: Exception, errand: Errand | None = None
    ) -> None:
        backoff = errand.backoff if errand else delayed_due.QUICK
        with transaction(self.engine) as conn:
            failed = delayed_due.record_failure(conn, job_id, cause, backoff)
            if failed and failed.is_dead:
                if errand:
                    errand.give_up(conn, failed.ref, f"{type(cause).__name__}: {cause}")
                _tell_operators(conn, kind, failed.ref)
        if failed is None:
            return
        _ENDED.labels(kind, "dead" if failed.is_dead else "put_off").inc()
        report = log.critical if failed.is_dead else log.warning
        report(
            "job_dead" if failed.is_dead else "job_put_off",
            kind=kind,
            ref=failed.ref,
            attempts=failed.attempts,
            error=repr(cause),
        )


def _tell_operators(conn: Connection, kind: str, ref: str) -> None:
    """One notice a day for each kind, which counts: one defect may kill every row of a kind."""
    notify(
        conn,
        audience=OPERATORS,
        type=NoticeType.JOB_DEAD,
        subject=f"job:{kind}",
        data={"kind": kind, "ref": ref},
        group=f"job_dead:{kind}",
    )


def _tell_rolled_back(kind: str, cause: str, ex: SQLAlchemyError) -> None:
    _PASSING.labels(cause).inc()
    log.warning("batch_rolled_back", kind=kind, cause=cause, error=str(getattr(ex, "orig", ex)))


def _count_done(kind: str, due: Sequence[DelayedJob], now: datetime) -> None:
    if not due:
        return
    _BATCH_ROWS.labels(kind).observe(len(due))
    _ENDED.labels(kind, "done").inc(len(due))
    lateness = _LATENESS.labels(kind)
    for job in due:
        lateness.observe((now - job.run_at).total_seconds())
