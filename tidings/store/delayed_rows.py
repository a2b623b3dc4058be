"""Delayed jobs one by one: what an operator, or a scheduler, sees and changes by hand.

Each change is one conditional statement whose row count says whether it met the row in the right
state, so all of it can be used while daemons run. Rejected: to read a row, judge it, and then write
it; the daemons do not wait for an operator.

    job = find(conn, parse_name("order_timeout:42"))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tidings.store.delayed_tables import delayed_job, paused_kind
from tidings.store.engine import database_now


@dataclass(frozen=True, slots=True)
class KindRef:
    """A job by what it is about: one kind has one job for each ref."""

    kind: str
    ref: str


# A job by the number of its row, or by what it is about.
JobName = int | KindRef


@dataclass(frozen=True, slots=True)
class JobRow:
    """Everything about a delayed job."""

    id: int
    kind: str
    ref: str
    run_at: datetime
    state: str
    attempts: int
    last_error: str | None
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KindSummary:
    """How many jobs of a kind wait, are paused or dead; `next` is when the first is due."""

    kind: str
    waiting: int
    paused: int
    dead: int
    next: datetime | None
    is_held: bool


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many jobs of a kind are in a state."""

    kind: str
    state: str
    number: int


def parse_name(text: str) -> JobName:
    """A job by its number, or by KIND:REF such as `order_timeout:42`.

    Raises:
        ValueError: it is neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    kind, colon, ref = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is no job; an ID is a number or KIND:REF")
    return KindRef(kind, ref)


def find(conn: Connection, name: JobName) -> JobRow | None:
    """One job; None if it was done, cancelled or never promised."""
    row = conn.execute(select(delayed_job).where(_named(name))).first()
    return None if row is None else _to_job(row)


def find_next(conn: Connection, *, limit: int) -> list[JobRow]:
    """The jobs that wait for their moment, the soonest first, without those that are held back."""
    query = (
        select(delayed_job)
        .where(
            delayed_job.c.state == "waiting",
            delayed_job.c.kind.not_in(select(paused_kind.c.kind)),
        )
        .order_by(delayed_job.c.run_at)
        .limit(limit)
    )
    return [_to_job(row) for row in conn.execute(query)]


def find_soonest(conn: Connection, *, limit: int, state: str | None = None) -> list[JobRow]:
    """Jobs by their moment, the soonest first; those in one state if it is given."""
    query = select(delayed_job).order_by(delayed_job.c.run_at).limit(limit)
    if state is not None:
        query = query.where(delayed_job.c.state == state)
    return [_to_job(row) for row in conn.execute(query)]


def remove(conn: Connection, name: JobName) -> bool:
    """Take a promise back, dead or alive; False if there is none."""
    return conn.execute(delete(delayed_job).where(_named(name))).rowcount == 1


def remove_all(conn: Connection) -> None:
    """Take every promise back."""
    conn.execute(delete(delayed_job))


def run_at_once(conn: Connection, name: JobName) -> bool:
    """Make a waiting or paused job due; False if there is none that lives."""
    alive = and_(_named(name), delayed_job.c.state != "dead")
    moved = conn.execute(
        update(delayed_job).where(alive).values(state="waiting", run_at=database_now(conn))
    )
    return moved.rowcount == 1


def revive(conn: Connection, name: JobName) -> bool:
    """Let a dead job live again, with all its attempts before it; False if there is none."""
    dead = and_(_named(name), delayed_job.c.state == "dead")
    fresh = {"state": "waiting", "attempts": 0, "last_error": None, "run_at": database_now(conn)}
    return conn.execute(update(delayed_job).where(dead).values(fresh)).rowcount == 1


def move_to(conn: Connection, name: JobName, run_at: datetime) -> bool:
    """Have a job wait for another moment, paused or not; False if there is none."""
    moved = conn.execute(
        update(delayed_job).where(_named(name)).values(state="waiting", run_at=run_at)
    )
    return moved.rowcount == 1


def pause(conn: Connection, name: JobName) -> bool:
    """Hold one job back; False if there is none."""
    return (
        conn.execute(update(delayed_job).where(_named(name)).values(state="paused")).rowcount == 1
    )


def pause_kind(conn: Connection, kind: str) -> bool:
    """Hold back every job of a kind, those yet to come included; False if they are held already."""
    try:
        with conn.begin_nested():
            conn.execute(insert(paused_kind).values(kind=kind, paused_at=database_now(conn)))
    except IntegrityError:
        return False
    return True


def resume_kind(conn: Connection, kind: str) -> bool:
    """Let a held kind run again; False if it was not held."""
    return conn.execute(delete(paused_kind).where(paused_kind.c.kind == kind)).rowcount == 1


def find_paused_kinds(conn: Connection) -> set[str]:
    """The kinds that are held back by hand."""
    return set(conn.scalars(select(paused_kind.c.kind)))


def find_kinds(conn: Connection) -> set[str]:
    """The kinds that have a row, or are held back."""
    return set(conn.scalars(select(delayed_job.c.kind).distinct())) | find_paused_kinds(conn)


def count_by_state(conn: Connection) -> list[StateCount]:
    """How many jobs there are of each kind in each state."""
    query = select(delayed_job.c.kind, delayed_job.c.state, func.count().label("number")).group_by(
        delayed_job.c.state, delayed_job.c.kind
    )
    return [StateCount(row.kind, row.state, row.number) for row in conn.execute(query)]


def summarise(conn: Connection) -> list[KindSummary]:
    """One row for each kind that has jobs or is held back: a pause that nothing showed would be
    forgotten."""
    counts = [
        func.sum(case((delayed_job.c.state == state, 1), else_=0)).label(state)
        for state in ("waiting", "paused", "dead")
    ]
    first = func.min(case((delayed_job.c.state == "waiting", delayed_job.c.run_at))).label("first")
    query = select(delayed_job.c.kind, *counts, first).group_by(delayed_job.c.kind)
    held = find_paused_kinds(conn)
    found = [
        KindSummary(
            kind=row.kind,
            waiting=int(row.waiting),
            paused=int(row.paused),
            dead=int(row.dead),
            next=row.first,
            is_held=row.kind in held,
        )
        for row in conn.execute(query)
    ]
    found += [
        KindSummary(kind=kind, waiting=0, paused=0, dead=0, next=None, is_held=True)
        for kind in held - {summary.kind for summary in found}
    ]
    return sorted(found, key=lambda summary: summary.kind)


def _named(name: JobName) -> ColumnElement[bool]:
    if isinstance(name, KindRef):
        return and_(delayed_job.c.kind == name.kind, delayed_job.c.ref == name.ref)
    return delayed_job.c.id == name


def _to_job(row: Row[Any]) -> JobRow:
    return JobRow(**row._mapping)
