"""Runs due delayed jobs a batch at a time, each batch one transaction with what its handler
changes.

Claim, act, delete, commit: a daemon that dies anywhere in between leaves rows that the next look
finds again, and a commit whose answer was lost is harmless, since what it did is no longer due.
When a batch fails for a reason of its own, its rows are run one by one, so that one poisoned row
delays nobody else. Rejected: a `running` state in the row; it outlives its owner and needs somebody
to judge whether that owner is dead.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import ColumnElement, Connection, Engine, Select, exists, select, update
from sqlalchemy.exc import SQLAlchemyError

from jobs.delayed.clock_guard import ClockGuard
from jobs.handlers import Handler
from jobs.static.runs import read_now
from tidings.store.by_key import delete_by_key
from tidings.store.delayed import DelayedJob
from tidings.store.delayed_tables import delayed_job, paused_kind
from tidings.store.engine import transaction
from tidings.store.retry import is_passing, run_again

# More would hold up whoever wants one of these orders, and gain little; fewer cost a commit more
# often.
BATCH_ROWS = 500
MOST_ATTEMPTS = 5
BACKOFF_S = 2

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
    handlers: Mapping[str, Handler]
    guard: ClockGuard
    stopping: threading.Event

    def drain(self, kind: str) -> int:
        """Run batches of this kind until one comes back less than full; returns how many jobs were
        done."""
        done = 0
        while not self.stopping.is_set():
            claimed = self._run_batch_with_retries(kind)
            done += claimed
            if claimed < BATCH_ROWS:
                break
        return done

    def _run_batch_with_retries(self, kind: str) -> int:
        def tell(cause: str, ex: SQLAlchemyError) -> None:
            _PASSING.labels(cause).inc()
            log.warning(
                "batch_rolled_back", kind=kind, cause=cause, error=str(getattr(ex, "orig", ex))
            )

        try:
            return run_again(
                partial(self._run_batch, kind), wait=self.stopping.wait, on_failure=tell
            )
        except Exception as ex:  # noqa: BLE001 - the handler's own: some row of the batch it cannot do
            if isinstance(ex, SQLAlchemyError) and is_passing(ex):
                return 0
            return self._run_singly(kind, ex)

    def _run_batch(self, kind: str) -> int:
        with transaction(self.engine) as conn:
            due, now = self._claim(conn, kind)
            self._act(conn, kind, due)
        _count_done(kind, due, now)
        return len(due)

    def _claim(
        self, conn: Connection, kind: str, *which: ColumnElement[bool]
    ) -> tuple[list[DelayedJob], datetime]:
        asked_at_s = self.guard.read_steady_s()
        now = read_now(conn)
        if not self.guard.accepts(now, asked_at_s):
            return [], now
        # Due by the reading that was accepted: the clock may jump before the next statement.
        query = (
            _due(kind, now)
            .where(*which)
            .limit(BATCH_ROWS)
            .with_for_update(skip_locked=True, of=delayed_job)
        )
        return [DelayedJob(*row) for row in conn.execute(query)], now

    def _act(self, conn: Connection, kind: str, due: Sequence[DelayedJob]) -> None:
        if not due:
            return
        later = self.handlers[kind](conn, due)
        for job_id, run_at in later.items():
            conn.execute(
                update(delayed_job).where(delayed_job.c.id == job_id).values(run_at=run_at)
            )
        done = [job.id for job in due if job.id not in later]
        if done:
            delete_by_key(conn, delayed_job, done)

    def _run_singly(self, kind: str, cause: Exception) -> int:
        """The rows of a failed batch, each in a transaction of its own; the guilty ones are put
        off."""
        log.warning("batch_split", kind=kind, error=repr(cause))
        with self.engine.connect() as conn:
            query = _due(kind, read_now(conn)).with_only_columns(delayed_job.c.id)
            ids = conn.scalars(query.limit(BATCH_ROWS)).all()
        for job_id in ids:
            if self.stopping.is_set():
                break
            self._run_one(kind, job_id)
        # Not a full batch, whatever it was: the next look decides how to go on.
        return 0

    def _run_one(self, kind: str, job_id: int) -> None:
        try:
            with transaction(self.engine) as conn:
                due, now = self._claim(conn, kind, delayed_job.c.id == job_id)
                self._act(conn, kind, due)
            _count_done(kind, due, now)
        except SQLAlchemyError as ex:
            cause = is_passing(ex)
            if cause is None:
                self._put_off(kind, job_id, ex)
            else:
                _PASSING.labels(cause).inc()
        except Exception as ex:  # noqa: BLE001 - the guilty row: recorded in it, logged and counted
            self._put_off(kind, job_id, ex)

    def _put_off(self, kind: str, job_id: int, cause: Exception) -> None:
        with transaction(self.engine) as conn:
            row = conn.execute(
                select(delayed_job.c.attempts, delayed_job.c.ref).where(delayed_job.c.id == job_id)
            ).first()
            if row is None:
                return
            attempts = row.attempts + 1
            is_dead = attempts >= MOST_ATTEMPTS
            conn.execute(
                update(delayed_job)
                .where(delayed_job.c.id == job_id, delayed_job.c.attempts == row.attempts)
                .values(
                    attempts=attempts,
                    state="dead" if is_dead else "waiting",
                    run_at=read_now(conn) + timedelta(seconds=BACKOFF_S**attempts),
                    last_error=f"{type(cause).__name__}: {cause}"[:4000],
                )
            )
        _ENDED.labels(kind, "dead" if is_dead else "put_off").inc()
        report = log.critical if is_dead else log.warning
        report(
            "job_dead" if is_dead else "job_put_off",
            kind=kind,
            ref=row.ref,
            attempts=attempts,
            error=repr(cause),
        )


def _due(kind: str, now: datetime) -> Select[Any]:
    jobs = delayed_job.c
    query = (
        select(jobs.id, jobs.kind, jobs.ref, jobs.run_at, jobs.attempts, jobs.payload)
        .where(jobs.state == "waiting", jobs.kind == kind, jobs.run_at <= now)
        .where(~exists().where(paused_kind.c.kind == kind))
        .order_by(jobs.run_at)
    )
    # Left to itself, MySQL may sort a whole backlog by another index to find the first rows.
    for dialect in ("mysql", "mariadb"):
        query = query.with_hint(
            delayed_job, "FORCE INDEX (ix_delayed_job_state_kind_run_at)", dialect
        )
    return query


def _count_done(kind: str, due: Sequence[DelayedJob], now: datetime) -> None:
    if not due:
        return
    _BATCH_ROWS.labels(kind).observe(len(due))
    _ENDED.labels(kind, "done").inc(len(due))
    lateness = _LATENESS.labels(kind)
    for job in due:
        lateness.observe((now - job.run_at).total_seconds())
