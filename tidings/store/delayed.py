"""Work for later, promised in the caller's own transaction: committed with what made it necessary,
or not at all.

A row is the promise and the daemons keep it, however often they, Redis or the network die in
between; `hint` only makes it prompt. Rejected: a broker, which can lose what the database kept, and
keep what the database rolled back.

    with transaction(engine) as conn:
        schedule(conn, "order_timeout", ref=order_id, after_s=1800)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter
from redis import Redis, RedisError
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    String,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now
from tidings.store.keys import JOBS_DUE
from tidings.store.metadata import Moment

HINT_CHANNEL = JOBS_DUE.of()
# A daemon looks at least this often by itself, and knows when the next waiting row is due.
LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)
_insertions: dict[str, Insert] = {}  # by dialect
_HINTS = Counter("tidings_jobs_hints", "Hints sent to the daemons, by outcome", ["outcome"])


class AlreadyScheduledError(Exception):
    """There is a job of this kind about this thing already. The transaction can go on."""


@dataclass(frozen=True, slots=True)
class DelayedJob:
    """A due row, as a handler gets it."""

    id: int
    kind: str
    ref: str
    run_at: datetime
    attempts: int
    payload: Mapping[str, Any]


def schedule(
    conn: Connection,
    kind: str,
    *,
    ref: object,
    after_s: float,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Have the handler named `kind` run `after_s` seconds from now, by the database's clock.

    Raises:
        AlreadyScheduledError: one of this kind waits for `ref`.
    """
    _insert(conn, kind, ref, run_at=after(conn, after_s), payload=payload)


def schedule_at(
    conn: Connection,
    kind: str,
    *,
    ref: object,
    run_at: datetime,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Have the handler named `kind` run at `run_at`.

    Raises:
        AlreadyScheduledError: one of this kind waits for `ref`.
    """
    _insert(conn, kind, ref, run_at=run_at, payload=payload)


def reschedule_at(conn: Connection, kind: str, *, ref: object, run_at: datetime) -> bool:
    """Move a job that waits, or let a dead one live again; False if there is none."""
    moved = conn.execute(
        update(delayed_job)
        .where(delayed_job.c.kind == kind, delayed_job.c.ref == str(ref))
        .values(run_at=run_at, state="waiting", attempts=0, last_error=None)
    )
    return moved.rowcount == 1


def lock(conn: Connection, kind: str, *, ref: object) -> None:
    """Have the daemons leave this job alone until the transaction ends; nothing if there is none.

    For one who locks what the job is about as well: the daemons lock the job first.
    """
    query = select(delayed_job.c.id).where(delayed_job.c.kind == kind)
    conn.execute(query.where(delayed_job.c.ref == str(ref)).with_for_update())


def cancel(conn: Connection, kind: str, *, ref: object) -> bool:
    """Take a promise back; False if it was kept already, or never made."""
    gone = conn.execute(
        delete(delayed_job).where(delayed_job.c.kind == kind, delayed_job.c.ref == str(ref))
    )
    return gone.rowcount == 1


def cancel_all(conn: Connection, kind: str, *, refs: Iterable[object]) -> None:
    """Take back every promise of this kind about these things."""
    wanted = [str(ref) for ref in refs]
    conn.execute(
        delete(delayed_job).where(delayed_job.c.kind == kind, delayed_job.c.ref.in_(wanted))
    )


def is_promised(kind: str, ref: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether there is a job of this kind about the row whose id `ref` is, for a query of that
    row's table."""
    return exists().where(delayed_job.c.kind == kind, delayed_job.c.ref == cast(ref, String(20)))


def hint(redis: Redis, *, after_s: float = 0) -> None:
    """Tell the daemons, after the commit, that something is due soon. May be lost, so it never
    raises.

    What is due later than the daemons' next look needs no hint, and none is sent.
    """
    if after_s >= LOOK_EVERY_S:
        return
    try:
        redis.publish(HINT_CHANNEL, b"")
        _HINTS.labels("sent").inc()
    except RedisError as ex:
        _HINTS.labels("lost").inc()
        log.warning("hint_lost", error=repr(ex))


def after(conn: Connection, seconds: float) -> ColumnElement[Any]:
    """The moment so many seconds from now, on the database's clock, as an expression for a `Moment`
    column."""
    if conn.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:%M:%f", "now", f"{seconds:+.3f} seconds", type_=Moment)
    return func.date_add(
        database_now(conn),
        literal_column(f"INTERVAL {round(seconds * 1_000_000)} MICROSECOND"),
        type_=Moment,
    )


def _insert(
    conn: Connection,
    kind: str,
    ref: object,
    *,
    run_at: datetime | ColumnElement[Any],
    payload: Mapping[str, Any] | None,
) -> None:
    values = {"kind": kind, "ref": str(ref), "payload": dict(payload or {})}
    # Built once: a reader who places an order waits for this.
    statement = _insertions.get(conn.dialect.name)
    if statement is None:
        statement = _insertions[conn.dialect.name] = insert(delayed_job).values(
            created_at=database_now(conn)
        )
    try:
        if isinstance(run_at, datetime):
            conn.execute(statement, values | {"run_at": run_at})
        else:
            conn.execute(statement.values(run_at=run_at), values)
    except IntegrityError as ex:
        raise AlreadyScheduledError(f"a {kind} about {ref} waits already") from ex
