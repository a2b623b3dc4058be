"""What payment providers have said: each callback that they signed is a row, with what it came to.

A provider's word is a fact about money, and a fact that differs from what was asked for is the one
that must not be lost: it stays open until a person has looked at it. One event is judged once; when
it comes again it is answered as the first time; if it says something else then, that is another
fact, named by what it says. A callback that cannot be read has no event that could be trusted, so
its bytes are its name. Rejected: a log line; no list of what is still open can be made of it.

    for callback in find_open(conn): ...
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tidings.shop import telling
from tidings.shop.providers import Callback
from tidings.shop.tables import payment_callback
from tidings.store.engine import database_now
from tidings.talk.notices import notify_many

MOST_SWEPT = 1000
_FLAW_CHARS = 255


class Verdict(StrEnum):
    """What a callback came to."""

    PAID = "paid"
    REFUNDED = "refunded"
    FAILED = "failed"
    NOTED = "noted"
    MISMATCH = "mismatch"
    UNKNOWN_PAYMENT = "unknown_payment"
    UNREADABLE = "unreadable"


# A person has to look at these: the provider and this site do not mean the same.
ALARMING = frozenset({Verdict.MISMATCH, Verdict.UNKNOWN_PAYMENT, Verdict.UNREADABLE})


class CallbackNotFoundError(Exception):
    """No callback of this number is open."""

    def __init__(self, callback_id: int) -> None:
        super().__init__(f"no callback {callback_id} waits for a person")
        self.callback_id = callback_id


class Recorded(msgspec.Struct, frozen=True):
    """A callback as it is kept; what it did not say, or not legibly, is None."""

    id: int
    provider: str
    event_id: str
    type: str
    payment_id: int | None
    provider_ref: str | None
    amount_cents: int | None
    currency: str | None
    verdict: str
    flaw: str | None
    is_open: bool
    at: datetime


class OpenCount(msgspec.Struct, frozen=True):
    """How many callbacks of one verdict are open, and since when the oldest is."""

    verdict: str
    number: int
    oldest_at: datetime


def find_told(conn: Connection, provider: str, event_id: str) -> tuple[Callback, Verdict] | None:
    """What an event said at first, and came to; None if it was never told."""
    row = conn.execute(
        select(payment_callback).where(
            payment_callback.c.provider == provider, payment_callback.c.event_id == event_id
        )
    ).first()
    if row is None:
        return None
    said = Callback(**{name: row._mapping[name] for name in Callback.__struct_fields__})
    return said, Verdict(row.verdict)


def record(
    conn: Connection, provider: str, callback: Callback, verdict: Verdict, *, flaw: str | None
) -> None:
    """Keep a callback with what became of it, in the transaction that it changed; operators are
    told of one that a person has to look at.

    Raises:
        IntegrityError: the same event has been judged meanwhile; the transaction must go back.
    """
    conn.execute(
        insert(payment_callback).values(
            provider=provider,
            event_id=callback.event_id,
            type=callback.type,
            payment_id=callback.payment_id,
            provider_ref=callback.provider_ref,
            amount_cents=callback.amount_cents,
            currency=callback.currency,
            verdict=verdict.value,
            flaw=flaw and flaw[:_FLAW_CHARS],
            is_open=int(verdict in ALARMING),
            at=database_now(conn),
        )
    )
    if verdict in ALARMING:
        told = telling.payment_mismatched(
            provider=provider, verdict=verdict.value, event_id=callback.event_id
        )
        notify_many(conn, [told])


def find_open(conn: Connection, *, after_id: int = 0, limit: int = 1000) -> list[Recorded]:
    """Callbacks that a person has to look at, in the order in which they came."""
    query = select(payment_callback).where(
        payment_callback.c.is_open == 1, payment_callback.c.id > after_id
    )
    rows = conn.execute(query.order_by(payment_callback.c.id).limit(limit))
    return [_to_recorded(row) for row in rows]


def find_newest(conn: Connection, *, limit: int) -> list[Recorded]:
    """Callbacks of any verdict, the newest first."""
    query = select(payment_callback).order_by(payment_callback.c.id.desc()).limit(limit)
    return [_to_recorded(row) for row in conn.execute(query)]


def count_open(conn: Connection) -> list[OpenCount]:
    """How many are open, by verdict."""
    columns = (
        payment_callback.c.verdict,
        func.count().label("number"),
        func.min(payment_callback.c.at).label("oldest_at"),
    )
    query = select(*columns).where(payment_callback.c.is_open == 1)
    rows = conn.execute(query.group_by(payment_callback.c.verdict))
    return [OpenCount(**row._mapping) for row in rows]


def close(conn: Connection, callback_id: int) -> None:
    """A person has looked at it, and done what there was to do.

    Raises:
        CallbackNotFoundError: none of this number is open.
    """
    is_it = (payment_callback.c.id == callback_id, payment_callback.c.is_open == 1)
    changed = conn.execute(update(payment_callback).where(*is_it).values(is_open=0))
    if changed.rowcount == 0:
        raise CallbackNotFoundError(callback_id)


def sweep(conn: Connection, before: datetime) -> int:
    """Delete callbacks of before that moment, MOST_SWEPT at most, and none that is open; returns
    how many."""
    old = (payment_callback.c.is_open == 0, payment_callback.c.at < before)
    ids = conn.scalars(select(payment_callback.c.id).where(*old).limit(MOST_SWEPT)).all()
    if ids:
        conn.execute(delete(payment_callback).where(payment_callback.c.id.in_(ids)))
    return len(ids)


def _to_recorded(row: Row[tuple[object, ...]]) -> Recorded:
    return Recorded(**{**row._mapping, "is_open": bool(row.is_open)})
