"""Many unpaid orders at once, straight into the tables: what a crowd would have left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert

from tidings.shop.tables import order_line, orders, sku, stock_move
from tidings.store.delayed_tables import delayed_job

CHUNK = 5000


def insert_orders(
    conn: Connection, moments: Sequence[datetime], *, first_id: int, skus: int, first_sku: int = 1
) -> range:
    """One unpaid order of one piece for each moment, which is when it expires; returns their
    ids."""
    ids = range(first_id, first_id + len(moments))
    created_at = min(moments)
    common = {
        "reader_id": 2,
        "request_hash": "",
        "status": "unpaid",
        "total_cents": 100,
        "currency": "EUR",
    }
    for start in reversed(range(0, len(ids), CHUNK)):
        chunk, at = ids[start : start + CHUNK], moments[start : start + CHUNK]
        rows = [
            {
                "id": id_,
                "idempotency_key": str(id_),
                "created_at": created_at,
                "expires_at": moment,
                **common,
            }
            for id_, moment in zip(chunk, at, strict=True)
        ]
        lines = [{"order_id": id_, "sku_id": id_ % skus + first_sku, "n": 1} for id_ in chunk]
        # The highest id first: orders that are placed meanwhile are numbered from there on.
        conn.execute(insert(orders), rows[::-1])
        conn.execute(insert(order_line), [{**line, "price_cents": 100} for line in lines])
        conn.execute(
            insert(stock_move),
            [{**line, "n": -1, "kind": "hold", "at": created_at} for line in lines],
        )
    for sku_id, held in sorted(Counter(id_ % skus + first_sku for id_ in ids).items()):
        conn.execute(sku.update().where(sku.c.id == sku_id).values(quantity=sku.c.quantity - held))
    return ids


def insert_jobs(conn: Connection, ids: Sequence[int], moments: Sequence[datetime]) -> None:
    """The promise to expire each of these orders."""
    plain = {"kind": "order_timeout", "payload": {}, "created_at": min(moments)}
    for start in range(0, len(ids), CHUNK):
        pairs = zip(ids[start : start + CHUNK], moments[start : start + CHUNK], strict=True)
        conn.execute(
            insert(delayed_job), [{"ref": str(id_), "run_at": at, **plain} for id_, at in pairs]
        )
