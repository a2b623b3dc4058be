"""Orders of paid editions: stock is taken when an order is placed and given back, once, when it is
not paid in time.

A status changes by one conditional UPDATE, and the row count says who was first: payer, reader or
clock. Every change of a quantity is a row of the ledger in the same transaction. Locks go one way,
turn or job → order → inbox → stock, and stock comes last and in the order of ids, so that a popular
product is locked for the length of one commit. Rejected: reading a status and then acting on it;
between the two another transaction may change it.

    line = Line(product_id=1, quantity=2)
    order = place(engine, 7, [line], key="k", timeout_s=1800, address="192.0.2.7", caps=caps)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, Update, case, insert, select, update

from tidings.shop import stock, telling
from tidings.shop.caps import Caps, TooMuchHeldError, Wish, check_caps, take_turns
from tidings.shop.stock import OutOfStockError, ProductNotFoundError
from tidings.shop.tables import order_line, orders
from tidings.store import delayed
from tidings.store.by_key import HINT, select_by_key, update_by_key
from tidings.store.engine import database_now, transaction
from tidings.store.transacting import transact
from tidings.talk.notices import notify_many

ORDER_TIMEOUT = "order_timeout"
# A reader is told so long before an order expires, and at half of its time if that is less.
WARN_BEFORE = timedelta(minutes=5)
MOST_LINES = 20
MOST_PIECES = 100
MOST_CENTS = 2**31 - 1


class Status(StrEnum):
    """Where an order stands."""

    UNPAID = "unpaid"
    PAID = "paid"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to an order."""

    PAY = "pay"
    EXPIRE = "expire"
    CANCEL = "cancel"


class Transition(msgspec.Struct, frozen=True):
    """One row of the state machine: where an event leads, and whether what was held goes back."""

    source: Status
    target: Status
    releases_stock: bool
    cancelled_for: str | None


# The whole state machine. An event that finds an order in another state than its source changes
# nothing.
TRANSITIONS: Mapping[Event, Transition] = {
    Event.PAY: Transition(Status.UNPAID, Status.PAID, releases_stock=False, cancelled_for=None),
    Event.EXPIRE: Transition(
        Status.UNPAID, Status.CANCELLED, releases_stock=True, cancelled_for="expired"
    ),
    Event.CANCEL: Transition(
        Status.UNPAID, Status.CANCELLED, releases_stock=True, cancelled_for="by_reader"
    ),
}


class OrderNotFoundError(Exception):
    """This reader has no such order."""


class OrderRefusedError(Exception):
    """What was ordered makes no order; the message says why."""


class IdempotencyConflictError(Exception):
    """The key was used before, for something else."""


class OrderNotPayableError(Exception):
    """The order is paid, cancelled, or past its time."""

    def __init__(self, order_id: int, status: str) -> None:
        super().__init__(f"order {order_id} cannot be paid or cancelled any more: it is {status}")
        self.order_id = order_id
        self.status = status


REFUSALS = (OrderRefusedError, OutOfStockError, ProductNotFoundError, TooMuchHeldError)


class Line(msgspec.Struct, frozen=True):
    """So many pieces of one product."""

    product_id: int
    quantity: int


class Order(msgspec.Struct, frozen=True):
    """An order as its reader sees it."""

    order_id: int
    status: str
    cancelled_for: str | None
    total_cents: int
    currency: str
    created_at: datetime
    expires_at: datetime
    lines: list[Line]


class Head(msgspec.Struct, frozen=True):
    """An order without its lines."""

    order_id: int
    status: str
    total_cents: int
    currency: str
    expires_at: datetime


class Overdue(msgspec.Struct, frozen=True):
    """An unpaid order past its time, and whether a delayed job will still expire it."""

    order_id: int
    is_promised: bool


def place(
    engine: Engine,
    reader_id: int,
    lines: Sequence[Line],
    *,
    key: str,
    timeout_s: float,
    address: str | None,
    caps: Caps,
) -> Order:
    """Take the stock, write the order, and promise its expiry: all in one transaction.

    Args:
        key: the reader's idempotency key; the same key and lines answer with the same order.
        timeout_s: how long the order may stay unpaid.
        address: the network that orders; None where none is known.
        caps: the most that may be held without paying.

    Raises:
        OrderRefusedError: no lines, too many, or too much of something.
        ProductNotFoundError, OutOfStockError: naming the product.
        TooMuchHeldError: the reader, or the address, holds too much that is not paid.
        IdempotencyConflictError: the key stands for other lines.
    """
    wanted = _check_lines(lines)
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    request_hash = hashlib.sha256(msgspec.json.encode(sorted(wanted.items()))).hexdigest()
    identity = {
        "reader_id": reader_id,
        "address": address,
        "idempotency_key": key_hash,
        "request_hash": request_hash,
    }

    def place_once(conn: Connection) -> Order:
        take_turns(conn, reader_id, address)
        found = _find_by_key(conn, reader_id, key_hash, request_hash=request_hash)
        return found or _place(conn, identity, wanted, timeout_s=timeout_s, caps=caps)

    try:
        return transact(engine, place_once)
    except REFUSALS:
        # A gateway of the version before takes no turn: it may have placed this very order since
        # the key was looked up, and with the last pieces.
        with engine.connect() as conn:
            found = _find_by_key(conn, reader_id, key_hash, request_hash=request_hash)
        if found is None:
            raise
        return found


def read_order(conn: Connection, reader_id: int, order_id: int) -> Order:
    """One order of this reader.

    Raises:
        OrderNotFoundError: it does not exist, or is another reader's; which of the two is not told.
    """
    row = conn.execute(
        select(orders).where(orders.c.id == order_id, orders.c.reader_id == reader_id)
    ).first()
    if row is None:
        raise OrderNotFoundError(f"there is no order {order_id}")
    return _to_order(conn, row)


def find_newest(conn: Connection, reader_id: int, *, limit: int) -> list[Head]:
    """A reader's orders, the newest first."""
    columns = (orders.c.status, orders.c.total_cents, orders.c.currency, orders.c.expires_at)
    query = select(orders.c.id.label("order_id"), *columns).where(orders.c.reader_id == reader_id)
    rows = conn.execute(query.order_by(orders.c.id.desc()).limit(limit))
    return [Head(**row._mapping) for row in rows]


def cancel(engine: Engine, reader_id: int, order_id: int) -> Order:
    """The reader changed their mind: give the stock back. Cancelling a cancelled order changes
    nothing.

    Raises:
        OrderNotFoundError: it is not this reader's.
        OrderNotPayableError: it has been paid.
    """
    with transaction(engine) as conn:
        read_order(conn, reader_id, order_id)
        advance(conn, order_id, Event.CANCEL)
        order = read_order(conn, reader_id, order_id)
        if order.status != Status.CANCELLED:
            raise OrderNotPayableError(order_id, order.status)
        return order


def advance(conn: Connection, order_id: int, event: Event) -> bool:
    """Apply an event to an order if the state it is in at this instant allows it.

    Returns:
        False when it came too late: for `PAY` the money must go back.
    """
    rule = TRANSITIONS[event]
    changed = conn.execute(
        _update_by_key()
        .where(orders.c.id == order_id, orders.c.status == rule.source)
        .values(
            status=rule.target,
            cancelled_for=rule.cancelled_for,
            ended_at=database_now(conn),
            address=None,
        )
    )
    if changed.rowcount == 0:
        return False
    if rule.releases_stock:
        stock.write_releases(conn, [order_id])
    columns: tuple[Any, ...] = (
        orders.c.id,
        orders.c.reader_id,
        orders.c.total_cents,
        orders.c.currency,
    )
    order = conn.execute(select(*columns).where(orders.c.id == order_id)).one()
    if rule.cancelled_for is None:
        notify_many(conn, [telling.order_paid(order)])
    else:
        notify_many(conn, [telling.order_cancelled(order, why=rule.cancelled_for)])
    if rule.releases_stock:
        stock.give_back(conn, [order_id])
    return True


def expire(conn: Connection, order_ids: Iterable[int], now: datetime) -> dict[int, datetime]:
    """Cancel those of these orders that are unpaid and past their time, and give their stock back;
    warn the readers of those that are not due yet.

    Args:
        now: the database's clock as the caller read it before any lock was waited for: an order may
            be cancelled a little late, never early. Not read again here: a clock that jumps in
            between would cancel what was only to be warned of.

    Returns:
        order id → when it expires, for those that are unpaid but not yet due. The others are done
        with.
    """
    rule = TRANSITIONS[Event.EXPIRE]
    not_before = case((orders.c.expires_at > now, orders.c.expires_at)).label("not_before")
    columns = (orders.c.id, orders.c.reader_id, not_before)
    query = select_by_key(conn, orders, "id", order_ids, *columns).where(
        orders.c.status == rule.source
    )
    unpaid = conn.execute(query.with_for_update(of=orders)).all()
    late = [order for order in unpaid if order.not_before is None]
    early = [order for order in unpaid if order.not_before is not None]
    due = [order.id for order in late]
    if due:
        # The ledger first: its primary key refuses a second release before anything else has
        # changed.
        stock.write_releases(conn, due)
        changes = (
            "status = :status, cancelled_for = :cancelled_for, ended_at = :ended_at, address = NULL"
        )
        ended = {"status": rule.target.value, "cancelled_for": rule.cancelled_for, "ended_at": now}
        update_by_key(conn, orders, dict.fromkeys(due, 0), changes, **ended)
    told = [telling.order_cancelled(order, why="expired") for order in late]
    told += [telling.order_expiring(order, expires_at=order.not_before) for order in early]
    notify_many(conn, told)
    if due:
        stock.give_back(conn, due)
    return {order.id: order.not_before for order in early}


def find_overdue(conn: Connection, before: datetime, *, limit: int) -> list[Overdue]:
    """Orders that are unpaid although they should have expired before that moment, by id."""
    is_promised = delayed.is_promised(ORDER_TIMEOUT, orders.c.id).label("is_promised")
    query = (
        select(orders.c.id.label("order_id"), is_promised)
        .where(orders.c.status == Status.UNPAID, orders.c.expires_at < before)
        .order_by(orders.c.id)
        .limit(limit)
    )
    return [Overdue(**row._mapping) for row in conn.execute(query)]


def promise_expiry(engine: Engine, order_id: int, run_at: datetime) -> None:
    """Have an order looked at, and expired if it is still unpaid; a promise that stands is
    kept."""
    with suppress(delayed.AlreadyScheduledError), transaction(engine) as conn:
        delayed.schedule_at(conn, ORDER_TIMEOUT, ref=order_id, run_at=run_at)


def _update_by_key() -> Update:
    # By the index of states, MySQL would lock an order's entry there before the order itself; a
    # transaction that comes by the order locks them the other way round, and one of the two is
    # rolled back.
    return (
        update(orders).with_hint(HINT, dialect_name="mysql").with_hint(HINT, dialect_name="mariadb")
    )


def _check_lines(lines: Sequence[Line]) -> dict[int, int]:
    wanted: dict[int, int] = {}
    for line in lines:
        wanted[line.product_id] = wanted.get(line.product_id, 0) + line.quantity
    if not 1 <= len(wanted) <= MOST_LINES:
        raise OrderRefusedError(
            f"an order has 1 to {MOST_LINES} different products, this one has {len(wanted)}"
        )
    for product_id, n in wanted.items():
        if not 1 <= n <= MOST_PIECES:
            raise OrderRefusedError(
                f"1 to {MOST_PIECES} pieces of product {product_id} can be ordered, not {n}"
            )
    return wanted


def _place(
    conn: Connection,
    identity: Mapping[str, Any],
    wanted: Mapping[int, int],
    *,
    timeout_s: float,
    caps: Caps,
) -> Order:
    products, now = stock.find_wanted(conn, wanted)
    currencies = {product.currency for product in products.values()}
    if len(currencies) != 1:
        raise OrderRefusedError(
            f"one order has one currency, this one has {' and '.join(sorted(currencies))}"
        )
    total_cents = sum(products[id_].price_cents * n for id_, n in wanted.items())
    if total_cents > MOST_CENTS:
        raise OrderRefusedError("the total of this order is too large")
    currency = currencies.pop()
    wish = Wish(
        reader_id=identity["reader_id"],
        address=identity["address"],
        pieces=sum(wanted.values()),
        cents=total_cents,
        currency=currency,
    )
    check_caps(conn, caps, wish)
    expires_at = now + timedelta(seconds=timeout_s)
    order = {
        "status": Status.UNPAID.value,
        "total_cents": total_cents,
        "currency": currency,
        "created_at": now,
        "expires_at": expires_at,
    }
    inserted = conn.execute(insert(orders).values({**order, **identity})).inserted_primary_key
    assert inserted is not None
    order_id = int(inserted[0])
    rows = [
        {"order_id": order_id, "sku_id": id_, "n": n, "price_cents": products[id_].price_cents}
        for id_, n in sorted(wanted.items())
    ]
    conn.execute(insert(order_line), rows)
    # Looked at twice: to warn its reader, and to cancel it.
    warn_at = expires_at - min(WARN_BEFORE, (expires_at - now) / 2)
    delayed.schedule_at(conn, ORDER_TIMEOUT, ref=order_id, run_at=warn_at)
    stock.take(conn, order_id, wanted)
    lines = [Line(id_, n) for id_, n in sorted(wanted.items())]
    return Order(order_id=order_id, cancelled_for=None, lines=lines, **order)  # type: ignore[arg-type]


def _find_by_key(
    conn: Connection, reader_id: int, key_hash: str, *, request_hash: str
) -> Order | None:
    row = conn.execute(
        select(orders).where(orders.c.reader_id == reader_id, orders.c.idempotency_key == key_hash)
    ).first()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise IdempotencyConflictError("this Idempotency-Key was used for another order")
    return _to_order(conn, row)


def _to_order(conn: Connection, row: Row[Any]) -> Order:
    lines = conn.execute(
        select(order_line.c.sku_id, order_line.c.n)
        .where(order_line.c.order_id == row.id)
        .order_by(order_line.c.sku_id)
    )
    return Order(
        order_id=row.id,
        status=row.status,
        cancelled_for=row.cancelled_for,
        total_cents=row.total_cents,
        currency=row.currency,
        created_at=row.created_at,
        expires_at=row.expires_at,
        lines=[Line(line.sku_id, line.n) for line in lines],
    )
