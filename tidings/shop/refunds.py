"""Money that came for an order that was not to be paid any more: what is owed, and sending it back.

`payments` writes a refund down, with a delayed job that sends it, in the transaction that found
out. The job asks the provider that took the money, again and again with growing pauses, and leaves
to a person what it could not send in hours. A crash between sending and marking sends it again,
which a provider answers by doing nothing more. Rejected: sending in that first transaction; a
provider that does not answer would then keep callbacks from being taken in. Rejected: waiting for
an operator's word; readers waited for their money until an operator looked.

    for owed in find_refunds(conn, states=[State.OWED, State.DEAD]): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine, Row, Select, and_, func, insert, or_, select, update

from tidings.shop import telling
from tidings.shop.providers import Provider, Repayment
from tidings.shop.tables import orders, payment, refund
from tidings.store import delayed
from tidings.store.engine import database_now, transaction
from tidings.talk.notices import notify_many

log = structlog.get_logger(__name__)
REFUND = "refund"
_ERROR_CHARS = 255


class State(StrEnum):
    """Whether the provider was asked to give the money back, and took it up. What is dead is owed
    as well, and waits for a person."""

    OWED = "owed"
    SENT = "sent"
    DEAD = "dead"


UNSENT = (State.OWED, State.DEAD)


class RefundNotFoundError(Exception):
    """No money is to be given back for this payment."""

    def __init__(self, payment_id: int) -> None:
        super().__init__(f"no refund is owed for payment {payment_id}")
        self.payment_id = payment_id


class Refund(msgspec.Struct, frozen=True):
    """Money to give back, and who has it; `error` is why sending it was given up."""

    payment_id: int
    order_id: int
    amount_cents: int
    currency: str
    reason: str
    state: str
    created_at: datetime
    error: str | None
    provider: str
    provider_ref: str | None


class RefundCount(msgspec.Struct, frozen=True):
    """How many refunds are in a state, and since when the oldest is owed."""

    state: str
    number: int
    oldest_at: datetime


def owe(conn: Connection, paid: Row[Any], *, reason: str) -> None:
    """Write down that a payment has to go back, and promise that it will.

    Args:
        paid: the payment's row.
        reason: what the order was when the money came.
    """
    conn.execute(
        insert(refund).values(
            payment_id=paid.id,
            order_id=paid.order_id,
            amount_cents=paid.amount_cents,
            currency=paid.currency,
            reason=reason,
            state=State.OWED.value,
            created_at=database_now(conn),
        )
    )
    delayed.schedule(conn, REFUND, ref=paid.id, after_s=0)


def is_refund(conn: Connection, payment_id: int) -> bool:
    """Whether a payment went back, or has to."""
    found = select(refund.c.payment_id).where(refund.c.payment_id == payment_id)
    return conn.scalar(found) is not None


def find_refunds(
    conn: Connection,
    *,
    states: Sequence[State] = tuple(State),
    limit: int = 1000,
    after: tuple[datetime, int] | None = None,
) -> list[Refund]:
    """Refunds in these states by their moment, the oldest first.

    Args:
        after: `created_at` and `payment_id` of the last one of the page before.
    """
    query = (
        _refunds()
        .where(refund.c.state.in_(states))
        .order_by(refund.c.created_at, refund.c.payment_id)
        .limit(limit)
    )
    if after is not None:
        at, payment_id = after
        is_later = and_(refund.c.created_at == at, refund.c.payment_id > payment_id)
        query = query.where(or_(refund.c.created_at > at, is_later))
    return [Refund(**row._mapping) for row in conn.execute(query)]


def find_unsent(conn: Connection, payment_id: int) -> Refund:
    """The refund that is owed for a payment.

    Raises:
        RefundNotFoundError: none is, or it was sent.
    """
    query = _refunds().where(refund.c.payment_id == payment_id, refund.c.state.in_(UNSENT))
    row = conn.execute(query).first()
    if row is None:
        raise RefundNotFoundError(payment_id)
    return Refund(**row._mapping)


def count_refunds(conn: Connection) -> list[RefundCount]:
    """How many there are in each state."""
    columns = (refund.c.state, func.count().label("number"), func.min(refund.c.created_at))
    query = select(*columns).group_by(refund.c.state)
    return [RefundCount(state, number, at) for state, number, at in conn.execute(query)]


def promise_owed(engine: Engine, *, limit: int) -> int:
    """Promise what is owed and was not promised yet, as by a program of the version before; returns
    how many."""
    is_promised = delayed.is_promised(REFUND, refund.c.payment_id)
    query = select(refund.c.payment_id).where(refund.c.state == State.OWED, ~is_promised)
    with engine.connect() as conn:
        forgotten = conn.scalars(query.limit(limit)).all()
    for payment_id in forgotten:
        with suppress(delayed.AlreadyScheduledError), transaction(engine) as conn:
            delayed.schedule(conn, REFUND, ref=payment_id, after_s=0)
    return len(forgotten)


def carry_out(engine: Engine, provider_of: Callable[[str], Provider], payment_id: int) -> None:
    """Give a refund back through the provider that took the money; nothing if it was sent.

    Args:
        provider_of: makes a provider by its name.

    Raises:
        ProviderUnavailableError, SettingsError: it stays owed; sending it again is safe.
    """
    with suppress(RefundNotFoundError):
        with engine.connect() as conn:
            owed = find_unsent(conn, payment_id)
        send(engine, provider_of(owed.provider), owed)
        log.info(
            "refund_sent",
            payment_id=owed.payment_id,
            order_id=owed.order_id,
            amount_cents=owed.amount_cents,
            currency=owed.currency,
            reason=owed.reason,
        )


def send(engine: Engine, provider: Provider, owed: Refund) -> None:
    """Give one refund back and mark it.

    Raises:
        ProviderUnavailableError: it stays owed; sending it again is safe.
    """
    provider.refund(
        Repayment(
            payment_id=owed.payment_id,
            provider_ref=owed.provider_ref,
            amount_cents=owed.amount_cents,
            currency=owed.currency,
        )
    )
    with transaction(engine) as conn:
        conn.execute(
            update(refund)
            .where(refund.c.payment_id == owed.payment_id)
            .values(state=State.SENT.value, error=None)
        )
        delayed.cancel(conn, REFUND, ref=owed.payment_id)
        reader_id = conn.scalars(
            select(orders.c.reader_id).where(orders.c.id == owed.order_id)
        ).one()
        notify_many(conn, [telling.refund_sent(owed, reader_id=reader_id)])


def give_up(conn: Connection, payment_id: int, error: str) -> None:
    """Leave a refund that could not be sent to a person, and tell operators so."""
    given_up = conn.execute(
        update(refund)
        .where(refund.c.payment_id == payment_id, refund.c.state == State.OWED)
        .values(state=State.DEAD.value, error=error[:_ERROR_CHARS])
    )
    if given_up.rowcount == 1:
        notify_many(conn, [telling.refund_dead(find_unsent(conn, payment_id))])


def _refunds() -> Select[Any]:
    return select(refund, payment.c.provider, payment.c.provider_ref).join(
        payment, payment.c.id == refund.c.payment_id
    )
