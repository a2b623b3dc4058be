"""What is due among delayed jobs, for the daemons: looking, claiming, and what becomes of a row.

A claim locks rows for the length of one transaction and writes nothing down, so the rows of a
daemon that dies are due again at once. Each statement names its index where MySQL, left to itself,
may sort a whole backlog. Rejected: a `running` state in the row; it outlives its owner, and another
program has to judge whether that owner is dead.

    now, firsts = read_first_moments(conn, ("order_timeout",))
    due = claim(conn, "order_timeout", now, limit=500)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, func, select, update

from tidings.process.clock import milliseconds
from tidings.store.by_key import delete_by_key, update_by_key
from tidings.store.delayed import DelayedJob
from tidings.store.delayed_tables import delayed_job, paused_kind
from tidings.store.engine import database_now

MOST_ATTEMPTS = 5

_looks: dict[tuple[str, tuple[str, ...]], Select[Any]] = {}  # by dialect and kinds


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often a row is tried before it is dead, and the pauses between, which double."""

    attempts: int
    first_s: float
    longest_s: float

    def pause_s(self, attempts: int) -> float:
        """How long to wait after so many attempts have failed."""
        return min(self.first_s * 2.0 ** (attempts - 1), self.longest_s)


# For work in the database alone: what fails five times in half a minute fails by its own fault.
QUICK = Backoff(MOST_ATTEMPTS, first_s=2, longest_s=60)


@dataclass(frozen=True, slots=True)
class Failed:
    """What became of a row that failed: put off with so many attempts behind it, or dead."""

    ref: str
    attempts: int
    is_dead: bool


def read_first_moments(
    conn: Connection, kinds: tuple[str, ...]
) -> tuple[datetime, dict[str, datetime]]:
    """The database's clock, and the first moment at which something waits, for each kind that has
    something."""
    # Built once: the daemons ask this each second and at each hint.
    query = _looks.get((conn.dialect.name, kinds))
    if query is None:
        query = _looks[conn.dialect.name, kinds] = _first_moments(conn, kinds)
    now, *moments = conn.execute(query).one()
    firsts = dict(zip(kinds, moments, strict=True))
    return now, {kind: first for kind, first in firsts.items() if first is not None}


def count_due(conn: Connection, kind: str, now: datetime, *, most: int) -> int:
    """How many rows of this kind are due, counted no further than `most`."""
    jobs = delayed_job.c
    due = select(jobs.id).where(jobs.state == "waiting", jobs.kind == kind, jobs.run_at <= now)
    return int(conn.scalar(select(func.count()).select_from(due.limit(most).subquery())) or 0)


def claim(conn: Connection, kind: str, now: datetime, *, limit: int) -> list[DelayedJob]:
    """Lock rows that are due at `now`, the oldest first, and no other daemon's."""
    return _claim(conn, _due(kind, now).limit(limit))


def claim_one(conn: Connection, kind: str, now: datetime, *, job_id: int) -> list[DelayedJob]:
    """Lock this row if it is due at `now` and no other daemon's; empty otherwise."""
    return _claim(conn, _due(kind, now).where(delayed_job.c.id == job_id))


def find_due_ids(conn: Connection, kind: str, now: datetime, *, limit: int) -> list[int]:
    """The ids of rows that are due at `now`, without a lock."""
    query = _due(kind, now).with_only_columns(delayed_job.c.id)
    return list(conn.scalars(query.limit(limit)))


def move(conn: Connection, later: Mapping[int, datetime]) -> None:
    """Give rows, by their ids, a later moment."""
    if not later:
        return
    if conn.dialect.name == "sqlite":
        one = update(delayed_job).where(delayed_job.c.id == bindparam("job_id"))
        rows = [{"job_id": job_id, "run_at": run_at} for job_id, run_at in later.items()]
        conn.execute(one.values(run_at=bindparam("run_at")), rows)
        return
    # One statement for a whole batch: a hundred round trips would hold its locks meanwhile.
    moments = {job_id: milliseconds(run_at) for job_id, run_at in later.items()}
    since_1970 = "DATE_ADD('1970-01-01', INTERVAL wanted.n * 1000 MICROSECOND)"
    update_by_key(conn, delayed_job, moments, f"run_at = {since_1970}")


def finish(conn: Connection, job_ids: Collection[int]) -> None:
    """Delete rows that were done, in the transaction that did them."""
    if job_ids:
        delete_by_key(conn, delayed_job, job_ids)


def record_failure(
    conn: Connection, job_id: int, cause: Exception, backoff: Backoff = QUICK
) -> Failed | None:
    """Put a row off for longer each time, and let it be dead in the end; None if it is gone."""
    row = conn.execute(
        select(delayed_job.c.attempts, delayed_job.c.ref, database_now(conn).label("now")).where(
            delayed_job.c.id == job_id
        )
    ).first()
    if row is None:
        return None
    attempts = row.attempts + 1
    is_dead = attempts >= backoff.attempts
    conn.execute(
        update(delayed_job)
        .where(delayed_job.c.id == job_id, delayed_job.c.attempts == row.attempts)
        .values(
            attempts=attempts,
            state="dead" if is_dead else "waiting",
            run_at=row.now + timedelta(seconds=backoff.pause_s(attempts)),
            last_error=f"{type(cause).__name__}: {cause}"[:4000],
        )
    )
    return Failed(row.ref, attempts, is_dead)


def _first_moments(conn: Connection, kinds: tuple[str, ...]) -> Select[Any]:
    # One step into the index for each kind.
    firsts = [
        select(func.min(delayed_job.c.run_at))
        .where(delayed_job.c.state == "waiting", delayed_job.c.kind == kind)
        .scalar_subquery()
        .label(f"first_{n}")
        for n, kind in enumerate(kinds)
    ]
    return select(database_now(conn).label("now"), *firsts)


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


def _claim(conn: Connection, due: Select[Any]) -> list[DelayedJob]:
    rows = conn.execute(due.with_for_update(skip_locked=True, of=delayed_job))
    return [
        DelayedJob(
            id=row.id,
            kind=row.kind,
            ref=row.ref,
            run_at=row.run_at,
            attempts=row.attempts,
            payload=row.payload,
        )
        for row in rows
    ]
