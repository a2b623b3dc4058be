"""A shop with full shelves, and questions about what became of what was on them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, func, insert, select

from tests.lab.shop import ANYBODY
from tidings.shop import orders, stock
from tidings.shop.tables import sku, stock_move
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction

STOCK = 100


class Shop:
    """Products 1 to 5 with STOCK pieces each, and questions about what became of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with transaction(engine) as conn:
            rows = [
                {
                    "id": n,
                    "title": f"Edition {n}",
                    "price_cents": 100 * n,
                    "currency": "EUR",
                    "quantity": 0,
                }
                for n in range(1, 6)
            ]
            conn.execute(insert(sku), rows)
            for n in range(1, 6):
                stock.receive(conn, n, STOCK, delivery=n)
        self._keys = 0

    def order(
        self,
        *lines: tuple[int, int],
        reader_id: int = 7,
        timeout_s: float = 1800,
        key: str = "",
        **limits: Any,
    ) -> orders.Order:
        self._keys += 1
        wanted = [orders.Line(*line) for line in lines or [(1, 1)]]
        return orders.place(
            self.engine,
            reader_id,
            wanted,
            key=key or f"k{self._keys}",
            timeout_s=timeout_s,
            **ANYBODY | limits,
        )

    def read(self, order_id: int, reader_id: int = 7) -> orders.Order:
        with self.engine.connect() as conn:
            return orders.read_order(conn, reader_id, order_id)

    def quantities(self) -> dict[int, int]:
        with self.engine.connect() as conn:
            return {row.id: row.quantity for row in conn.execute(select(sku.c.id, sku.c.quantity))}

    def ledger(self) -> dict[int, int]:
        with self.engine.connect() as conn:
            sums = select(stock_move.c.sku_id, func.sum(stock_move.c.n)).group_by(
                stock_move.c.sku_id
            )
            return {sku_id: int(n) for sku_id, n in conn.execute(sums)}

    def moves(self, order_id: int, kind: str) -> list[tuple[int, int]]:
        with self.engine.connect() as conn:
            query = select(stock_move.c.sku_id, stock_move.c.n).where(
                stock_move.c.order_id == order_id, stock_move.c.kind == kind
            )
            return sorted((row.sku_id, row.n) for row in conn.execute(query))

    def jobs(self) -> list[Any]:
        with self.engine.connect() as conn:
            columns = (
                *delayed_job.c,
                (delayed_job.c.run_at > database_now(conn)).label("is_later"),
            )
            return list(conn.execute(select(*columns).order_by(delayed_job.c.id)))
