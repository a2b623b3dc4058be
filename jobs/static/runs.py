"""Runs each firing of a static job once, however many daemons and crontabs fire it.

The process that inserts `job_run(job, slot)` runs it, under a lock of the job's name that dies with
its holder. A slot left `running` by a daemon that is gone is taken over; one that failed is tried
again, three times in all. Slots come from the database's clock, so a daemon with a wrong clock
fires in vain but never twice. Rejected: an elected leader; who leads is not known while one dies.

    ran = run_slot(job, slot, context)
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import structlog
from apscheduler.triggers.cron import CronTrigger
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs.static.context import Context, JobFailedError, Routine, Run
from jobs.static.locks import exclusive
from jobs.static.slots import Missed, due_slots, make_trigger
from jobs.tables import daemon, job_run
from tidings.store.engine import database_now, transaction
from tidings.store.retry import OUTAGE, run_again

MOST_ATTEMPTS = 3
RETRY_AFTER_S = 60
BEAT_EVERY_S = 5
DEAD_AFTER_S = 4 * BEAT_EVERY_S

log = structlog.get_logger(__name__)
_RUNS = Counter(
    "tidings_jobs_runs", "Firings of static jobs, by how they ended", ["job", "outcome"]
)
_SECONDS = Histogram(
    "tidings_jobs_run_seconds",
    "How long a static job took",
    ["job"],
    buckets=(0.01, 0.1, 1, 5, 15, 60, 300, 1800),
)
_LAST_DONE = Gauge(
    "tidings_jobs_last_done_timestamp_seconds", "When a static job last succeeded", ["job"]
)

# slot, state, owner, attempt, done_at
_History: TypeAlias = "Row[Any, Any, Any, Any, Any]"


class Outcome(enum.Enum):
    """How a firing ended for the one that asked for it."""

    DONE = "done"
    FAILED = "failed"
    ALREADY = "already run"
    BUSY = "running elsewhere"


@dataclass(frozen=True)
class StaticJob:
    """A line of the table of static jobs. `work` returns one line for the history, a `Routine`
    where nothing had to be done."""

    name: str
    cron: str
    work: Callable[[Run], str]
    missed: Missed = "once"
    executor: str = "static"

    @cached_property
    def trigger(self) -> CronTrigger:
        return make_trigger(self.cron)


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one slot."""

    slot: datetime
    outcome: Outcome
    detail: str = ""


def run_due(job: StaticJob, context: Context) -> list[Ran]:
    """Run the slots of this job that are due by the database's clock and have not been run."""
    ran = []
    for slot in find_due(context.engine, job, context.owner):
        if context.stopping.is_set():
            break
        ran.append(run_slot(job, slot, context))
    return ran


def find_due(engine: Engine, job: StaticJob, me: str) -> list[datetime]:
    """Slots of this job that want running now, oldest first; `me` is the asking process's owner
    name."""
    with engine.connect() as conn:
        now = read_now(conn)
        last = _newest_run(conn, job.name)
        if last is not None and _wants_another_attempt(conn, last, now, me=me):
            return [last.slot]
    return due_slots(job.trigger, job.missed, last.slot if last else None, now)


def run_slot(job: StaticJob, slot: datetime, context: Context) -> Ran:
    """Run one slot unless it has been run, or is being run. A failing job is recorded, never
    raised."""
    with exclusive(context.engine, f"job.{job.name}") as held:
        if not held:
            return Ran(slot, Outcome.BUSY)
        now = _claim(job, slot, context)
        if now is None:
            return Ran(slot, Outcome.ALREADY)
        started_s = time.monotonic()
        try:
            detail, outcome = job.work(Run(context, slot, now)), Outcome.DONE
        except (
            JobFailedError
        ) as ex:  # its own words, such as being asked to stop; where it stood says nothing more
            detail, outcome = str(ex), Outcome.FAILED
            log.warning("job_failed", job=job.name, slot=slot.isoformat(), reason=detail)
        except Exception as ex:  # recorded, logged, counted and tried again
            detail, outcome = f"{type(ex).__name__}: {ex}", Outcome.FAILED
            log.exception("job_failed", job=job.name, slot=slot.isoformat())
        _record(job, slot, context.engine, outcome=outcome, detail=detail)
        _RUNS.labels(job.name, outcome.value).inc()
        _SECONDS.labels(job.name).observe(time.monotonic() - started_s)
        if outcome is Outcome.DONE:
            _LAST_DONE.labels(job.name).set_to_current_time()
            tell = log.debug if isinstance(detail, Routine) else log.info
            tell("job_done", job=job.name, slot=slot.isoformat(), summary=detail)
        return Ran(slot, outcome, detail)


def read_now(conn: Connection) -> datetime:
    """The database's clock."""
    now: datetime = conn.execute(select(database_now(conn))).scalar_one()
    return now


def _newest_run(conn: Connection, name: str) -> _History | None:
    columns = (
        job_run.c.slot,
        job_run.c.state,
        job_run.c.owner,
        job_run.c.attempt,
        job_run.c.done_at,
    )
    return conn.execute(
        select(*columns).where(job_run.c.job == name).order_by(job_run.c.slot.desc()).limit(1)
    ).first()


def _wants_another_attempt(conn: Connection, run: _History, now: datetime, *, me: str) -> bool:
    if run.attempt >= MOST_ATTEMPTS:
        return False
    if run.state == "failed":
        return run.done_at is not None and now - run.done_at >= timedelta(seconds=RETRY_AFTER_S)
    # Its own name on a slot it is not running: the end of that run could not be written down.
    return run.state == "running" and (run.owner == me or not _is_alive(conn, run.owner, now))


def _is_alive(conn: Connection, owner: str, now: datetime) -> bool:
    # The lock alone would do, were it not for lost connections: they free it while the job still
    # runs.
    beat = conn.execute(select(daemon.c.beat_at).where(daemon.c.name == owner)).scalar()
    return beat is not None and now - beat < timedelta(seconds=DEAD_AFTER_S)


def _claim(job: StaticJob, slot: datetime, context: Context) -> datetime | None:
    """Make the slot this process's own: the moment it started, or None where it is another's or
    done."""
    row = {"owner": context.owner, "state": "running", "done_at": None, "error": None}
    try:
        with transaction(context.engine) as conn:
            now = read_now(conn)
            conn.execute(
                insert(job_run).values(job=job.name, slot=slot, attempt=1, started_at=now, **row)
            )
            return now
    except IntegrityError:
        pass  # Another process inserted it before: the rest is about whether it still runs it.
    with transaction(context.engine) as conn:
        now = read_now(conn)
        run = _newest_run(conn, job.name)
        if (
            run is None
            or run.slot != slot
            or not _wants_another_attempt(conn, run, now, me=context.owner)
        ):
            return None
        taken = conn.execute(
            update(job_run)
            .where(
                job_run.c.job == job.name, job_run.c.slot == slot, job_run.c.attempt == run.attempt
            )
            .values(attempt=run.attempt + 1, started_at=now, **row)
        )
        return now if taken.rowcount == 1 else None


def _record(
    job: StaticJob, slot: datetime, engine: Engine, *, outcome: Outcome, detail: str
) -> None:
    text = {"summary": detail[:512]} if outcome is Outcome.DONE else {"error": detail[:4000]}

    def write() -> None:
        with transaction(engine) as conn:
            conn.execute(
                update(job_run)
                .where(job_run.c.job == job.name, job_run.c.slot == slot)
                .values(state=outcome.value, done_at=database_now(conn), **text)
            )

    # Unrecorded, it would run once more, so a short outage is waited out.
    run_again(write, patience=OUTAGE)
