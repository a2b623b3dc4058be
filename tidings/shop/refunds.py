"""Money that came for an order that was not to be paid any more: what is owed, and sending it back.

`payments` writes a refund down in the transaction that found out; here it is sent, by the provider
that took the money, and marked once the provider has taken it up. A crash between the two sends it
again, which a provider answers by doing nothing more. Rejected: sending in that first transaction;
a provider that does not answer would then keep callbacks from being taken in.

    for owed in find_refunds(conn, state=State.OWED): ...
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from sqlalchemy import Connection, Engine, select, update

from tidings.shop.providers import Provider, Repayment
from tidings.shop.tables import payment, refund
from tidings.store.engine import transaction


class State(StrEnum):
    """Whether the provider was asked to give the money back, and took it up."""

    OWED = "owed"
    SENT = "sent"


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


def find_refunds(
    conn: Connection, *, state: State | None = None, limit: int = 1000
) -> list[Refund]:
    """Refunds by their moment, the oldest first; those in one state if it is given."""
    query = (
        select(refund, payment.c.provider, payment.c.provider_ref)
        .join(payment, payment.c.id == refund.c.payment_id)
        .order_by(refund.c.created_at, refund.c.payment_id)
        .limit(limit)
    )
    if state is not None:
        query = query.where(refund.c.state == state)
    return [Refund(**row._mapping) for row in conn.execute(query)]


def find_owed(conn: Connection, payment_id: int) -> Refund:
    """The refund that is owed for a payment.

    Raises:
        RefundNotFoundError: none is, or it was sent.
    """
    row = conn.execute(
        select(refund, payment.c.provider, payment.c.provider_ref)
        .join(payment, payment.c.id == refund.c.payment_id)
        .where(refund.c.payment_id == payment_id, refund.c.state == State.OWED)
    ).first()
    if row is None:
        raise RefundNotFoundError(payment_id)
    return Refund(**row._mapping)


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
            .where(refund.c.payment_id == owed.payment_id, refund.c.state == State.OWED)
            .values(state=State.SENT.value)
        )
