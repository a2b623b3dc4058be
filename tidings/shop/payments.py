"""Taking money for orders, through a provider who calls back: late, twice, out of order, or not at
all.

A payment is written down before the provider hears of it, and settled by conditional UPDATEs, so
each callback may come any number of times. Money that arrives for an order that is not to be paid
any more becomes a refund record, in the transaction that found out. Callbacks are signed over their
bytes and a timestamp, since what a stranger can send, or send again tomorrow, must not ship an
order. Rejected: asking the provider while a transaction is open; its slowness would become ours.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, Row, insert, select, update

from tidings.shop import orders
from tidings.shop.orders import Event, OrderNotFoundError, OrderNotPayableError, Status
from tidings.shop.tables import orders as order_table
from tidings.shop.tables import payment, refund
from tidings.store.engine import database_now, transaction

SIGNATURE_HEADER = "Tidings-Signature"
REPLAY_WINDOW_S = 300

log = structlog.get_logger(__name__)
_CALLBACKS = Counter(
    "tidings_payment_callbacks", "Payment callbacks by what became of them", ["outcome"]
)


class ProviderUnavailableError(Exception):
    """The provider does not take the payment just now; starting it again is safe."""


class CallbackRefusedError(Exception):
    """The callback is not the provider's, or is an old one sent again."""


class PaymentNotFoundError(Exception):
    """No such payment was ever started here."""


class PaymentMismatchError(Exception):
    """The provider speaks of another amount than was asked for. Nothing was changed."""


class Charge(msgspec.Struct, frozen=True):
    """What a provider is asked to take. The payment's id makes the request repeatable."""

    payment_id: int
    order_id: int
    amount_cents: int
    currency: str


class Started(msgspec.Struct, frozen=True):
    """What a provider answers: its own name for the payment, and where the reader pays."""

    provider_ref: str
    pay_url: str


class Provider(Protocol):
    """Somebody who takes money."""

    name: str

    def start(self, charge: Charge) -> Started:
        """Begin a payment; the same charge again gives the same answer.

        Raises:
            ProviderUnavailableError: it may or may not have begun; try again.
        """
        ...


class PaymentStarted(msgspec.Struct, frozen=True):
    """A payment that now waits for the reader, and for the provider's word."""

    payment_id: int
    order_id: int
    state: str
    pay_url: str


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a provider calls back with."""

    event_id: str
    type: Literal["payment.pending", "payment.succeeded", "payment.failed"]
    payment_id: int
    provider_ref: str
    amount_cents: int
    currency: str


class Settlement(StrEnum):
    """What a callback came to. A repeated one comes to what the first did."""

    PAID = "paid"
    REFUNDED = "refunded"
    FAILED = "failed"
    NOTED = "noted"


def derive_keys(secrets: Sequence[bytes]) -> list[bytes]:
    """Keys for callbacks from the site's secret keys, for a provider who has no secret of his
    own."""
    return [hmac.digest(secret, b"tidings.payments.1", "sha256") for secret in secrets]


def sign(key: bytes, body: bytes, at_s: int) -> str:
    """The signature header for a callback sent at `at_s` seconds since the epoch."""
    return f"t={at_s},v1={_digest(key, body, at_s)}"


def verify(keys: Sequence[bytes], body: bytes, header: str, now_s: float) -> None:
    """Raises:
    CallbackRefusedError: none of the keys signed this, or not within REPLAY_WINDOW_S of now.
    """
    parts = dict(part.partition("=")[::2] for part in header[:512].split(","))
    stamp, signature = parts.get("t", ""), parts.get("v1", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and signature.isascii()):
        _CALLBACKS.labels("unsigned").inc()
        raise CallbackRefusedError(f"{SIGNATURE_HEADER} should be t=SECONDS,v1=HMAC")
    fits = [hmac.compare_digest(_digest(key, body, int(stamp)), signature) for key in keys]
    if not any(fits):
        _CALLBACKS.labels("forged").inc()
        raise CallbackRefusedError("the signature does not fit the body")
    if abs(now_s - int(stamp)) > REPLAY_WINDOW_S:
        _CALLBACKS.labels("replayed").inc()
        raise CallbackRefusedError(f"the signature is older, or newer, than {REPLAY_WINDOW_S} s")


def start(engine: Engine, provider: Provider, reader_id: int, order_id: int) -> PaymentStarted:
    """Begin paying an order; a payment that waits already is taken up again.

    Raises:
        OrderNotFoundError: it is not this reader's.
        OrderNotPayableError: it is paid, cancelled, or past its time.
        ProviderUnavailableError: nothing was taken; the same request may be sent again.
    """
    with transaction(engine) as conn:
        charge = _open_payment(conn, provider, reader_id, order_id)
    started = provider.start(charge)
    with transaction(engine) as conn:
        conn.execute(
            update(payment)
            .where(payment.c.id == charge.payment_id)
            .values(provider_ref=started.provider_ref)
        )
    return PaymentStarted(charge.payment_id, order_id, "started", started.pay_url)


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


def _open_payment(conn: Connection, provider: Provider, reader_id: int, order_id: int) -> Charge:
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
    return Charge(int(payment_id), order_id, order.total_cents, order.currency)


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


def _digest(key: bytes, body: bytes, at_s: int) -> str:
    return hmac.digest(key, b"%d.%b" % (at_s, body), "sha256").hex()
