"""Taking money for orders, through a provider who calls back: late, twice, out of order, or not at
all.

A payment is written down before the provider hears of it, and settled by conditional UPDATEs, so
each callback may come any number of times; what each came to is a row in the same transaction. One
payment of an order waits at a time, by a unique key. Money that arrives for an order that is not to
be paid any more becomes a refund record, in the transaction that found out; a job sends it back.
Each provider verifies its own callbacks, since what a stranger can send, or send again tomorrow,
must not ship an order. Rejected: asking the provider while a transaction is open; its slowness
would become ours. Rejected: refusing what differs from what was asked for; a provider gives up in
the end, and what it knew is gone.

    started = start(engine, provider, reader_id, order_id)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, Row, insert, or_, select, update

from tidings.shop import callbacks, orders, refunds
from tidings.shop.callbacks import ALARMING, Verdict
from tidings.shop.orders import Event, OrderNotFoundError, OrderNotPayableError, Status
from tidings.shop.providers import (
    Callback,
    CallbackRefusedError,
    CallbackUnreadableError,
    Charge,
    Provider,
)
from tidings.shop.tables import orders as order_table
from tidings.shop.tables import payment
from tidings.store.engine import database_now, transaction
from tidings.store.transacting import transact

log = structlog.get_logger(__name__)
_CALLBACKS = Counter(
    "tidings_payment_callbacks",
    "Payment callbacks by what became of them; alert on mismatch, unknown_payment and unreadable",
    ["outcome"],
)


class PaymentStarted(msgspec.Struct, frozen=True):
    """A payment that now waits for the reader, and for the provider's word."""

    payment_id: int
    order_id: int
    state: str
    pay_url: str


def start(engine: Engine, provider: Provider, reader_id: int, order_id: int) -> PaymentStarted:
    """Begin paying an order; a payment that waits already is taken up again.

    Raises:
        OrderNotFoundError: it is not this reader's.
        OrderNotPayableError: it is paid, cancelled, or past its time.
        ProviderUnavailableError: nothing was taken; the same request may be sent again.
    """
    # Of two requests at once, the second finds the payment of the first.
    charge = transact(
        engine, lambda conn: _open_payment(conn, provider, reader_id, order_id=order_id)
    )
    started = provider.start(charge)
    with transaction(engine) as conn:
        known = _learn_reference(conn, charge.payment_id, started.provider_ref)
    if known != started.provider_ref:
        _CALLBACKS.labels(Verdict.MISMATCH).inc()
        log.critical(
            "payment_reference_changed",
            payment_id=charge.payment_id,
            known=known,
            said=started.provider_ref,
        )
    return PaymentStarted(
        payment_id=charge.payment_id,
        order_id=order_id,
        state="started",
        pay_url=started.pay_url,
    )


def take_callback(
    engine: Engine, provider: Provider, headers: Mapping[str, str], *, body: bytes, now_s: float
) -> Verdict:
    """Do what a request to the provider's door says, once, and keep what it said.

    Args:
        headers: by their names in lower case.

    Raises:
        CallbackRefusedError: it is not the provider's; nothing is kept.
        CallbackUnreadableError: it is the provider's and cannot be read; that it came is kept.
    """
    try:
        callback = provider.read_callback(headers, body, now_s)
    except CallbackRefusedError as ex:
        _CALLBACKS.labels(ex.outcome).inc()
        raise
    except CallbackUnreadableError as ex:
        name = f"sha256:{hashlib.sha256(body).hexdigest()}"
        _judge_once(engine, provider.name, Callback(name, "unreadable"), flaw=str(ex))
        raise
    return settle(engine, callback, provider=provider.name)


def settle(engine: Engine, callback: Callback, *, provider: str) -> Verdict:
    """Do what a verified callback says, once, and keep it; what is told again comes to what it came
    to at first."""
    return _judge_once(engine, provider, callback, flaw=None)


def _judge_once(engine: Engine, provider: str, callback: Callback, *, flaw: str | None) -> Verdict:
    def judge(conn: Connection) -> tuple[Callback, Verdict, str | None, bool]:
        name, known = _find_name(conn, provider, callback)
        named = msgspec.structs.replace(callback, event_id=name)
        if known is not None:
            return named, known, None, False
        verdict, found = (Verdict.UNREADABLE, flaw) if flaw else _judge(conn, provider, named)
        callbacks.record(conn, provider, named, verdict, flaw=found)
        return named, verdict, found, True

    # Another request with this event may be faster; what it came to there is then the answer.
    named, verdict, found, is_new = transact(engine, judge)
    _CALLBACKS.labels(verdict if is_new else "repeated").inc()
    if is_new and named.event_id != callback.event_id:
        log.warning("payment_event_reused", provider=provider, event_id=callback.event_id)
    if is_new and verdict in ALARMING:
        log.critical(
            "payment_callback_differs",
            verdict=verdict.value,
            provider=provider,
            event_id=named.event_id,
            payment_id=callback.payment_id,
            flaw=found,
        )
    return verdict


def _find_name(conn: Connection, provider: str, callback: Callback) -> tuple[str, Verdict | None]:
    """Under which name a callback is kept, and what it came to if it was told before.

    An event that says something else than before is another fact, whatever the provider calls it:
    swallowed as a repeat, a success after a wait would leave a paid order to expire. It is named by
    what it says.
    """
    told = callbacks.find_told(conn, provider, callback.event_id)
    if told is None or told[0] == callback:
        return callback.event_id, told and told[1]
    name = f"sha256:{hashlib.sha256(msgspec.json.encode(callback)).hexdigest()}"
    told = callbacks.find_told(conn, provider, name)
    return name, told and told[1]


def _judge(conn: Connection, provider: str, callback: Callback) -> tuple[Verdict, str | None]:
    """What a callback that was never told before comes to, and what is wrong with it."""
    act = _ACTS.get(callback.type)
    if act is None:
        return Verdict.NOTED, None
    row = conn.execute(select(payment).where(payment.c.id == (callback.payment_id or 0))).first()
    if row is None or row.provider != provider:
        return Verdict.UNKNOWN_PAYMENT, f"{provider} was never asked for this payment"
    asked, said = (row.amount_cents, row.currency), (callback.amount_cents, callback.currency)
    known, told = row.provider_ref, callback.provider_ref
    # Not known until the provider has answered the start; its callback may be faster.
    if asked == said and known is None and told is not None:
        known = _learn_reference(conn, row.id, told)
    if asked != said or known != told:
        ours, theirs = (
            f"{amount} {currency} under {reference}"
            for (amount, currency), reference in ((asked, known), (said, told))
        )
        return Verdict.MISMATCH, f"asked for {ours}, told of {theirs}"
    return act(conn, row), None


def _learn_reference(conn: Connection, payment_id: int, reference: str) -> str | None:
    """Keep the provider's name for a payment, unless one is known; returns the one that is."""
    is_it = payment.c.id == payment_id
    conn.execute(
        update(payment)
        .where(is_it, payment.c.provider_ref.is_(None))
        .values(provider_ref=reference)
    )
    known: str | None = conn.scalar(select(payment.c.provider_ref).where(is_it))
    return known


def _open_payment(conn: Connection, provider: Provider, reader_id: int, *, order_id: int) -> Charge:
    is_open = (order_table.c.expires_at > database_now(conn)).label("is_open")
    mine = (order_table.c.id == order_id, order_table.c.reader_id == reader_id)
    order = conn.execute(select(order_table, is_open).where(*mine)).first()
    if order is None:
        raise OrderNotFoundError(f"there is no order {order_id}")
    if order.status != Status.UNPAID or not order.is_open:
        raise OrderNotPayableError(
            order_id, order.status if order.status != Status.UNPAID else "past its time"
        )
    payment_id = _find_waiting(conn, provider.name, order_id)
    if payment_id is None:
        payment_id = _insert_payment(conn, provider.name, order)
    return Charge(
        payment_id=payment_id,
        order_id=order_id,
        amount_cents=order.total_cents,
        currency=order.currency,
    )


def _find_waiting(conn: Connection, provider: str, order_id: int) -> int | None:
    # A program of the version before leaves `open_for` empty.
    waiting = (
        select(payment.c.id)
        .where(
            payment.c.order_id == order_id,
            payment.c.state == "started",
            payment.c.provider == provider,
        )
        .order_by(payment.c.open_for.is_(None), payment.c.id)
    )
    found: int | None = conn.scalar(waiting.limit(1))
    return found


def _insert_payment(conn: Connection, provider: str, order: Row[Any]) -> int:
    # Ended by a program of the version before, or begun with a provider whom the site has left.
    is_over = or_(payment.c.state != "started", payment.c.provider != provider)
    conn.execute(
        update(payment).where(payment.c.open_for == order.id, is_over).values(open_for=None)
    )
    row = {
        "order_id": order.id,
        "open_for": order.id,
        "provider": provider,
        "state": "started",
        "amount_cents": order.total_cents,
        "currency": order.currency,
    }
    inserted = conn.execute(
        insert(payment).values(created_at=database_now(conn), **row)
    ).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def _note(_conn: Connection, _row: Row[Any]) -> Verdict:
    return Verdict.NOTED


def _fail(conn: Connection, row: Row[Any]) -> Verdict:
    # A failure that comes after the success is an older one.
    return Verdict.FAILED if _change(conn, row, "failed", ("started", "failed")) else Verdict.NOTED


def _succeed(conn: Connection, row: Row[Any]) -> Verdict:
    if not _change(conn, row, "succeeded", ("started", "failed")):
        return _was_settled(conn, row)
    if orders.advance(conn, row.order_id, Event.PAY):
        return Verdict.PAID
    found = select(order_table.c.status, order_table.c.cancelled_for)
    order = conn.execute(found.where(order_table.c.id == row.order_id)).one()
    has_expired = order.cancelled_for == "expired"
    refunds.owe(
        conn, row, reason="order had expired" if has_expired else f"order was {order.status}"
    )
    return Verdict.REFUNDED


_ACTS: dict[str, Callable[[Connection, Row[Any]], Verdict]] = {
    "payment.pending": _note,
    "payment.failed": _fail,
    "payment.succeeded": _succeed,
}


def _change(conn: Connection, row: Row[Any], state: str, sources: Sequence[str]) -> bool:
    changed = conn.execute(
        update(payment)
        .where(payment.c.id == row.id, payment.c.state.in_(sources))
        .values(state=state, settled_at=database_now(conn), open_for=None)
    )
    return changed.rowcount == 1


def _was_settled(conn: Connection, row: Row[Any]) -> Verdict:
    return Verdict.REFUNDED if refunds.is_refund(conn, row.id) else Verdict.PAID
