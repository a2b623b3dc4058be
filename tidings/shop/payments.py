"""Taking money for orders, through a provider who calls back: late, twice, out of order, or not at
all.

A payment is written down before the provider hears of it, and settled by conditional UPDATEs, so
each callback may come any number of times. Money that arrives for an order that is not to be paid
any more becomes a refund record, in the transaction that found out; `refunds` sends it back. Each
provider verifies its own callbacks, since what a stranger can send, or send again tomorrow, must
not ship an order. Rejected: asking the provider while a transaction is open; its slowness would
become ours.

    started = start(engine, provider, reader_id, order_id)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, Row, insert, select, update

from tidings.shop import orders
from tidings.shop.orders import Event, OrderNotFoundError, OrderNotPayableError, Status
from tidings.shop.providers import Callback, CallbackRefusedError, Charge, Provider
from tidings.shop.tables import orders as order_table
from tidings.shop.tables import payment, refund
from tidings.store.engine import database_now, transaction

log = structlog.get_logger(__name__)
_CALLBACKS = Counter(
    "tidings_payment_callbacks", "Payment callbacks by what became of them", ["outcome"]
)


class PaymentNotFoundError(Exception):
    """No such payment was ever started here."""


class PaymentMismatchError(Exception):
    """The provider speaks of another amount than was asked for. Nothing was changed."""


class PaymentStarted(msgspec.Struct, frozen=True):
    """A payment that now waits for the reader, and for the provider's word."""

    payment_id: int
    order_id: int
    state: str
    pay_url: str


class Settlement(StrEnum):
    """What a callback came to. A repeated one comes to what the first did."""

    PAID = "paid"
    REFUNDED = "refunded"
    FAILED = "failed"
    NOTED = "noted"


def start(engine: Engine, provider: Provider, reader_id: int, order_id: int) -> PaymentStarted:
    """Begin paying an order; a payment that waits already is taken up again.

    Raises:
        OrderNotFoundError: it is not this reader's.
        OrderNotPayableError: it is paid, cancelled, or past its time.
        ProviderUnavailableError: nothing was taken; the same request may be sent again.
    """
    with transaction(engine) as conn:
        charge = _open_payment(conn, provider, reader_id, order_id=order_id)
    started = provider.start(charge)
    with transaction(engine) as conn:
        conn.execute(
            update(payment)
            .where(payment.c.id == charge.payment_id)
            .values(provider_ref=started.provider_ref)
        )
    return PaymentStarted(
        payment_id=charge.payment_id,
        order_id=order_id,
        state="started",
        pay_url=started.pay_url,
    )


def take_callback(
    engine: Engine, provider: Provider, headers: Mapping[str, str], *, body: bytes, now_s: float
) -> Settlement:
    """Do what a request to the provider's door says, once.

    Args:
        headers: by their names in lower case.

    Raises:
        CallbackRefusedError, CallbackUnreadableError: it is not the provider's, or says nothing.
        PaymentNotFoundError, PaymentMismatchError: nothing was changed.
    """
    try:
        callback = provider.read_callback(headers, body, now_s)
    except CallbackRefusedError as ex:
        _CALLBACKS.labels(ex.outcome).inc()
        raise
    return settle(engine, callback)


def settle(engine: Engine, callback: Callback) -> Settlement:
    """Do what a verified callback says, once.

    Raises:
        PaymentNotFoundError, PaymentMismatchError: nothing was changed.
    """
    with transaction(engine) as conn:
        row = conn.execute(select(payment).where(payment.c.id == callback.payment_id)).first()
        if row is None:
            raise PaymentNotFoundError(f"there is no payment {callback.payment_id}")
        if (row.amount_cents, row.currency) != (callback.amount_cents, callback.currency):
            log.critical(
                "payment_mismatch",
                payment_id=row.id,
                asked=row.amount_cents,
                said=callback.amount_cents,
            )
            raise PaymentMismatchError(f"payment {row.id} is of {row.amount_cents} {row.currency}")
        settlement = _SETTLE[callback.type](conn, row)
    _CALLBACKS.labels(settlement).inc()
    return settlement


def _open_payment(conn: Connection, provider: Provider, reader_id: int, *, order_id: int) -> Charge:
    # Locked, so that two requests at once take up one payment.
    is_open = (order_table.c.expires_at > database_now(conn)).label("is_open")
    mine = (order_table.c.id == order_id, order_table.c.reader_id == reader_id)
    order = conn.execute(select(order_table, is_open).where(*mine).with_for_update()).first()
    if order is None:
        raise OrderNotFoundError(f"there is no order {order_id}")
    if order.status != Status.UNPAID or not order.is_open:
        raise OrderNotPayableError(
            order_id, order.status if order.status != Status.UNPAID else "past its time"
        )
    waiting = select(payment.c.id).where(
        payment.c.order_id == order_id,
        payment.c.state == "started",
        payment.c.provider == provider.name,
    )
    payment_id = conn.scalar(waiting.limit(1))
    if payment_id is None:
        row = {
            "order_id": order_id,
            "provider": provider.name,
            "state": "started",
            "currency": order.currency,
        }
        inserted = conn.execute(
            insert(payment).values(
                amount_cents=order.total_cents, created_at=database_now(conn), **row
            )
        ).inserted_primary_key
        assert inserted is not None
        payment_id = inserted[0]
    return Charge(
        payment_id=int(payment_id),
        order_id=order_id,
        amount_cents=order.total_cents,
        currency=order.currency,
    )


def _note(_conn: Connection, _row: Row[Any]) -> Settlement:
    return Settlement.NOTED


def _fail(conn: Connection, row: Row[Any]) -> Settlement:
    # A failure that comes after the success is an older one.
    return (
        Settlement.FAILED
        if _change(conn, row, "failed", ("started", "failed"))
        else Settlement.NOTED
    )


def _succeed(conn: Connection, row: Row[Any]) -> Settlement:
    if not _change(conn, row, "succeeded", ("started", "failed")):
        return _was_settled(conn, row)
    if orders.advance(conn, row.order_id, Event.PAY):
        return Settlement.PAID
    status = conn.scalar(select(order_table.c.status).where(order_table.c.id == row.order_id))
    conn.execute(
        insert(refund).values(
            payment_id=row.id,
            order_id=row.order_id,
            amount_cents=row.amount_cents,
            currency=row.currency,
            reason=f"order was {status}",
            state="owed",
            created_at=database_now(conn),
        )
    )
    return Settlement.REFUNDED


_SETTLE: dict[str, Callable[[Connection, Row[Any]], Settlement]] = {
    "payment.pending": _note,
    "payment.failed": _fail,
    "payment.succeeded": _succeed,
}


def _change(conn: Connection, row: Row[Any], state: str, sources: Sequence[str]) -> bool:
    changed = conn.execute(
        update(payment)
        .where(payment.c.id == row.id, payment.c.state.in_(sources))
        .values(state=state, settled_at=database_now(conn))
    )
    return changed.rowcount == 1


def _was_settled(conn: Connection, row: Row[Any]) -> Settlement:
    is_refunded = (
        conn.scalar(select(refund.c.payment_id).where(refund.c.payment_id == row.id)) is not None
    )
    return Settlement.REFUNDED if is_refunded else Settlement.PAID
