"""APScheduler's view of the table of delayed jobs: a job store that only looks.

It answers the scheduler's "what is due?" with a few batch jobs that claim their rows themselves, so
a scheduler that dies, or finds another at work on the same table, loses and doubles nothing. It
looks once a second at least, so rows that other processes insert are seen without a signal.
APScheduler's own stores hand out the jobs themselves and delete them before they have run; and one
error in `get_next_run_time` ends their scheduler's thread. So nothing that the scheduler's thread
calls here ever raises: it is logged, counted and looked at again.

    scheduler.add_job(Task("publish_article"), "date", run_date=at, id="42", jobstore="due")
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.triggers.date import DateTrigger
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from jobs.delayed.batches import BATCH_ROWS, Batches
from tidings.store import delayed, delayed_due, delayed_rows
from tidings.store.delayed import LOOK_EVERY_S
from tidings.store.delayed_rows import JobRow, KindRef
from tidings.store.engine import transaction

BATCHES_PER_KIND = 4
SHORTEST_PAUSE_S = 0.02
# A batch that was offered but never began, because the pool refused it, is offered again after
# this.
OFFER_LIFE_S = 5.0
LIST_LIMIT = 1000
BATCH_PREFIX = "batch:"

log = structlog.get_logger(__name__)
_DUE = Gauge(
    "tidings_jobs_due", "Delayed jobs due at the last look, counted up to a few batches", ["kind"]
)
_OLDEST = Gauge(
    "tidings_jobs_oldest_due_age_seconds",
    "How overdue the oldest waiting job is; alert on this",
    ["kind"],
)
_LOOK = Histogram(
    "tidings_jobs_look_seconds",
    "How long a look took",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1, 5),
)
_LOOK_ERRORS = Counter("tidings_jobs_look_errors", "Looks that failed")


@dataclass(frozen=True, slots=True)
class Task:
    """Names a kind of delayed job to APScheduler: `scheduler.add_job(Task("publish_article"),
    "date", …)`."""

    kind: str

    def __call__(self, **payload: Any) -> None:
        raise NotImplementedError(
            "a row of the table stands for this call; its handler runs in a batch"
        )


class TableJobStore(BaseJobStore):  # type: ignore[misc]  # APScheduler ships no annotations
    """Delayed jobs as rows.

    Args:
        engine: for looking; its waits should be short, since the scheduler's thread waits with it.
        batches: runs what is found.
    """

    def __init__(self, engine: Engine, batches: Batches, executor: str = "due") -> None:
        self._engine = engine
        self._batches = batches
        self._executor = executor
        self._next_look_s = 0.0
        self._offers: dict[tuple[str, int], float] = {}
        self._busy: set[tuple[str, int]] = set()
        self._slots_lock = threading.Lock()
        self.looks = 0

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Batch jobs for what is due by the database's clock; the scheduler's own `now` only labels
        them."""
        self.looks += 1
        self._next_look_s = LOOK_EVERY_S
        if self._batches.stopping.is_set():
            return []
        try:
            with _LOOK.time():
                found = self._look()
        except SQLAlchemyError as ex:
            _LOOK_ERRORS.inc()
            log.warning("look_failed", error=repr(getattr(ex, "orig", ex)))
            return []
        return [self._make_batch(kind, n, now) for kind, n in self._choose(found)]

    def get_next_run_time(self) -> datetime:
        """When to look again, on this process's clock."""
        return datetime.now(UTC) + timedelta(seconds=self._next_look_s)

    def lookup_job(self, job_id: str) -> Job | None:
        kind, _, ref = job_id.partition(":")
        with self._engine.connect() as conn:
            row = delayed_rows.find(conn, KindRef(kind, ref))
        return self._to_job(row) if row else None

    def get_all_jobs(self) -> list[Job]:
        """The next LIST_LIMIT jobs, soonest first, paused ones last."""
        with self._engine.connect() as conn:
            rows = delayed_rows.find_soonest(conn, limit=LIST_LIMIT)
        jobs = [self._to_job(row) for row in rows]
        self._fix_paused_jobs_sorting(jobs)
        return sorted(jobs, key=lambda job: job.next_run_time is None)

    def add_job(self, job: Job) -> None:
        """Write a job down as a row.

        Raises:
            ConflictingIdError: there is one of this kind and id.
            ValueError: it is not a `Task` of a known kind with a date for its trigger.
        """
        if not isinstance(job.func, Task) or not isinstance(job.trigger, DateTrigger) or job.args:
            raise ValueError(
                "this store takes Task(kind) with a date trigger and keyword arguments"
            )
        kind = job.func.kind
        if kind not in self._batches.handlers:
            raise ValueError(f"there is no handler for {kind!r}")
        ref = job.id.removeprefix(f"{kind}:")
        try:
            with transaction(self._engine) as conn:
                delayed.schedule_at(
                    conn, kind, ref=ref, run_at=job.trigger.run_date, payload=job.kwargs
                )
        except delayed.AlreadyScheduledError as ex:
            raise ConflictingIdError(job.id) from ex

    def update_job(self, job: Job) -> None:
        """Move, pause or resume a row; batch jobs have none."""
        if job.id.startswith(BATCH_PREFIX):
            return
        kind, _, ref = job.id.partition(":")
        name, run_at = KindRef(kind, ref), job.next_run_time
        with transaction(self._engine) as conn:
            is_there = (
                delayed_rows.pause(conn, name)
                if run_at is None
                else delayed_rows.move_to(conn, name, run_at)
            )
            if not is_there:
                raise JobLookupError(job.id)

    def remove_job(self, job_id: str) -> None:
        """Delete a row. The scheduler also calls this for each batch job it has started: those have
        none."""
        if job_id.startswith(BATCH_PREFIX):
            return
        kind, _, ref = job_id.partition(":")
        with transaction(self._engine) as conn:
            if not delayed.cancel(conn, kind, ref=ref):
                raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        with transaction(self._engine) as conn:
            delayed_rows.remove_all(conn)

    def _look(self) -> dict[str, int]:
        """Due rows by kind, the longest waiting kind first; plans the next look."""
        asked_at_s = self._batches.guard.read_steady_s()
        kinds = tuple(self._batches.handlers)
        with self._engine.connect() as conn:
            now, firsts = delayed_due.read_first_moments(conn, kinds)
            if not self._batches.guard.accepts(now, asked_at_s):
                return {}
            waits_s = {kind: (first - now).total_seconds() for kind, first in firsts.items()}
            if any(wait_s <= 0 for wait_s in waits_s.values()):
                # What is held back by hand is overdue all the time; that is no reason to hurry, nor
                # for an alarm.
                for kind in delayed_rows.find_paused_kinds(conn):
                    waits_s.pop(kind, None)
            overdue = sorted(
                (kind for kind, wait_s in waits_s.items() if wait_s <= 0), key=waits_s.__getitem__
            )
            # Counted no further than batches can be offered for.
            most = BATCH_ROWS * BATCHES_PER_KIND
            due = {kind: delayed_due.count_due(conn, kind, now, most=most) for kind in overdue}
        for kind in kinds:
            _OLDEST.labels(kind).set(max(0.0, -waits_s.get(kind, 0.0)))
            _DUE.labels(kind).set(due.get(kind, 0))
        soonest_s = min(waits_s.values(), default=LOOK_EVERY_S)
        self._next_look_s = max(min(soonest_s, LOOK_EVERY_S), SHORTEST_PAUSE_S)
        return due

    def _choose(self, due: Mapping[str, int]) -> list[tuple[str, int]]:
        """Free places for batches: one for each due kind first, so that a flood of one never bars
        another."""
        now_s = time.monotonic()
        chosen: list[tuple[str, int]] = []
        with self._slots_lock:
            self._offers = {
                slot: at for slot, at in self._offers.items() if now_s - at < OFFER_LIFE_S
            }
            taken = self._busy | self._offers.keys()
            for n, (kind, count) in itertools.product(range(BATCHES_PER_KIND), due.items()):
                if n * BATCH_ROWS < count and (kind, n) not in taken:
                    chosen.append((kind, n))
                    self._offers[kind, n] = now_s
        return chosen

    def _make_batch(self, kind: str, n: int, now: datetime) -> Job:
        job = Job(
            self._scheduler,
            id=f"{BATCH_PREFIX}{kind}:{n}",
            func=partial(self._run_batch, (kind, n)),
            args=(),
            kwargs={},
            name=kind,
            trigger=DateTrigger(now, UTC),
            executor=self._executor,
            next_run_time=now,
            misfire_grace_time=None,
            coalesce=True,
            # The places above are the limit; this one would only log a warning when a look comes
            # too soon.
            max_instances=BATCHES_PER_KIND,
        )
        job._jobstore_alias = self._alias
        return job

    def _run_batch(self, slot: tuple[str, int]) -> None:
        with self._slots_lock:
            self._offers.pop(slot, None)
            self._busy.add(slot)
        try:
            self._batches.drain(slot[0])
        except SQLAlchemyError as ex:
            log.warning("batch_failed", kind=slot[0], error=repr(getattr(ex, "orig", ex)))
        finally:
            with self._slots_lock:
                self._busy.discard(slot)

    def _to_job(self, row: JobRow) -> Job:
        job = Job(
            self._scheduler,
            id=f"{row.kind}:{row.ref}",
            func=Task(row.kind),
            args=(),
            kwargs=dict(row.payload),
            name=row.kind,
            trigger=DateTrigger(row.run_at, UTC),
            executor=self._executor,
            next_run_time=row.run_at if row.state == "waiting" else None,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        job._jobstore_alias = self._alias
        return job
