"""What is in stock, and the ledger that explains it: with every change of a quantity goes a row of
`stock_move`.

Nothing here decides whether stock should move; `orders` does. Quantities change last in a
transaction and in the order of ids, by every caller, so that two transactions never wait for each
other. Rejected: a quantity computed from the ledger on each order; a popular edition has a hundred
thousand rows.

    take(conn, order_id, {product_id: 2})
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, literal, select, update

from tidings.shop.tables import order_line, orders, sku, stock_move
from tidings.store.by_key import select_by_key, update_by_key
from tidings.store.engine import database_now

MAX_TITLE = 255


class ProductNotFoundError(Exception):
    """There is no such product on sale."""

    def __init__(self, sku_id: int) -> None:
        super().__init__(f"there is no product {sku_id} on sale")
        self.sku_id = sku_id


class OutOfStockError(Exception):
    """Fewer pieces are free than were ordered; nothing was taken."""

    def __init__(self, sku_id: int) -> None:
        super().__init__(f"product {sku_id} is out of stock")
        self.sku_id = sku_id


class Product(msgspec.Struct, frozen=True):
    """Something on sale. `quantity` is what is free to be ordered."""

    product_id: int
    title: str
    price_cents: int
    currency: str
    quantity: int


class Imbalance(msgspec.Struct, frozen=True):
    """A product whose books do not balance."""

    sku_id: int
    quantity: int
    ledger: int
    received: int
    held: int
    sold: int


def find_products(conn: Connection, *, after_id: int = 0, limit: int = 50) -> list[Product]:
    """What is on sale, by id, from the one after `after_id`."""
    query = _on_sale().where(sku.c.id > after_id).order_by(sku.c.id).limit(limit)
    return [_to_product(row) for row in conn.execute(query)]


def add_product(conn: Connection, title: str, price_cents: int, currency: str) -> int:
    """Put a product on sale, without stock; returns its id.

    Raises:
        ValueError: the title is empty or longer than 255 characters, the price is not above 0, or
            the currency is not three capital letters.
    """
    if not 1 <= len(title.strip()) <= MAX_TITLE:
        raise ValueError(
            f"expected a title of 1 to {MAX_TITLE} characters, got {len(title.strip())}"
        )
    if price_cents < 1:
        raise ValueError(f"expected a price above 0, got {price_cents}")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise ValueError(f"expected a currency such as EUR, got {currency!r}")
    row = {"title": title.strip(), "price_cents": price_cents, "currency": currency, "quantity": 0}
    (id_,) = conn.execute(insert(sku).values(row)).inserted_primary_key or (0,)
    return int(id_)


def withdraw(conn: Connection, sku_id: int) -> None:
    """Take a product from sale; what was ordered of it stays ordered.

    Raises:
        ProductNotFoundError: it is not on sale.
    """
    changed = conn.execute(
        update(sku).where(sku.c.id == sku_id, sku.c.state == "on_sale").values(state="withdrawn")
    )
    if changed.rowcount == 0:
        raise ProductNotFoundError(sku_id)


def receive(conn: Connection, sku_id: int, n: int, *, delivery: int) -> bool:
    """Add a delivery to a product's stock; False if this delivery was booked before.

    Raises:
        ProductNotFoundError: there is no such product.
    """
    booked = select(stock_move.c.n).where(
        stock_move.c.order_id == -delivery,
        stock_move.c.sku_id == sku_id,
        stock_move.c.kind == "receive",
    )
    if conn.execute(booked).first() is not None:
        return False
    changed = conn.execute(
        update(sku).where(sku.c.id == sku_id).values(quantity=sku.c.quantity + n)
    )
    if changed.rowcount == 0:
        raise ProductNotFoundError(sku_id)
    move = {
        "order_id": -delivery,
        "sku_id": sku_id,
        "kind": "receive",
        "n": n,
        "at": database_now(conn),
    }
    conn.execute(insert(stock_move).values(move))
    return True


def find_imbalances(conn: Connection) -> list[Imbalance]:
    """Products whose quantity their ledger or their orders do not explain; empty when all is well.

    quantity + held = received - sold, and the ledger's sum is the quantity.
    """
    moved = _sum_by_sku(
        select(stock_move.c.sku_id, func.sum(stock_move.c.n).label("n")), stock_move.c.sku_id
    )
    received = _sum_by_sku(
        select(stock_move.c.sku_id, func.sum(stock_move.c.n).label("n")).where(
            stock_move.c.kind == "receive"
        ),
        stock_move.c.sku_id,
    )
    held, sold = (
        _sum_by_sku(
            select(order_line.c.sku_id, func.sum(order_line.c.n).label("n"))
            .join(orders, orders.c.id == order_line.c.order_id)
            .where(orders.c.status == status),
            order_line.c.sku_id,
        )
        for status in ("unpaid", "paid")
    )
    parts = {"ledger": moved, "received": received, "held": held, "sold": sold}
    columns = [func.coalesce(part.c.n, 0).label(name) for name, part in parts.items()]
    query = select(sku.c.id.label("sku_id"), sku.c.quantity, *columns)
    for part in parts.values():
        query = query.outerjoin(part, part.c.sku_id == sku.c.id)
    # One statement, so that all sums are of one instant.
    rows = [
        Imbalance(**{name: int(value) for name, value in row._mapping.items()})
        for row in conn.execute(query)
    ]
    return [
        row
        for row in rows
        if row.quantity != row.ledger or row.quantity + row.held != row.received - row.sold
    ]


def _sum_by_sku(query: Any, column: Any) -> Any:
    return query.group_by(column).subquery()


def find_wanted(conn: Connection, wanted: Mapping[int, int]) -> tuple[dict[int, Product], datetime]:
    """The products of an order, product id → pieces, and the database's clock.

    Raises:
        ProductNotFoundError, OutOfStockError: naming the first, by id.
    """
    query = _on_sale().add_columns(database_now(conn).label("now")).where(sku.c.id.in_(wanted))
    rows = conn.execute(query).all()
    products = {row.id: _to_product(row) for row in rows}
    for id_, n in sorted(wanted.items()):
        if id_ not in products:
            raise ProductNotFoundError(id_)
        if products[id_].quantity < n:
            raise OutOfStockError(id_)
    return products, rows[0].now


def take(conn: Connection, order_id: int, wanted: Mapping[int, int]) -> None:
    """Hold stock for an order. The last thing its transaction does.

    Raises:
        OutOfStockError: others were faster; the transaction must be rolled back.
    """
    now = database_now(conn)
    holds = [
        {"order_id": order_id, "sku_id": id_, "kind": "hold", "n": -n} for id_, n in wanted.items()
    ]
    conn.execute(insert(stock_move).values(at=now), holds)
    for id_, n in sorted(wanted.items()):
        taken = conn.execute(
            update(sku)
            .where(sku.c.id == id_, sku.c.quantity >= n)
            .values(quantity=sku.c.quantity - n)
        )
        if taken.rowcount == 0:
            raise OutOfStockError(id_)


def write_releases(conn: Connection, order_ids: Sequence[int]) -> None:
    """Write down that these orders' stock goes back; `give_back` must follow in the same
    transaction.

    Raises:
        IntegrityError: an order's stock went back before.
    """
    columns = (
        order_line.c.order_id,
        order_line.c.sku_id,
        literal("release"),
        order_line.c.n,
        database_now(conn),
    )
    lines = select_by_key(conn, order_line, "order_id", order_ids, *columns)
    conn.execute(insert(stock_move).from_select(["order_id", "sku_id", "kind", "n", "at"], lines))


def give_back(conn: Connection, order_ids: Sequence[int]) -> None:
    """Add what these orders held to the quantities. The last thing its transaction does."""
    columns = (order_line.c.sku_id, func.sum(order_line.c.n))
    lines = select_by_key(conn, order_line, "order_id", order_ids, *columns).group_by(
        order_line.c.sku_id
    )
    added = {sku_id: int(n) for sku_id, n in conn.execute(lines)}
    update_by_key(conn, sku, added, "quantity = quantity + wanted.n")


def _on_sale() -> Any:
    return select(sku.c.id, sku.c.title, sku.c.price_cents, sku.c.currency, sku.c.quantity).where(
        sku.c.state == "on_sale"
    )


def _to_product(row: Row[Any]) -> Product:
    return Product(
        product_id=row.id,
        title=row.title,
        price_cents=row.price_cents,
        currency=row.currency,
        quantity=row.quantity,
    )
