"""I1 to I8: what must hold after any fault, asked of the database and of the readers' own
ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, text

from tidings.shop import stock

OVERDUE_S = 2.0


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """What readers were told; a last line that was cut off by a kill was not."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [msgspec.json.decode(line) for line in lines]


def count_overdue(engine: Engine, overdue_s: float = OVERDUE_S) -> int:
    """Unpaid orders, and jobs of known kinds, that are later than they may be."""
    sums = []
    for query in (
        (
            "SELECT COUNT(*) FROM orders WHERE status = 'unpaid'"
            " AND expires_at < UTC_TIMESTAMP(3) - INTERVAL {} SECOND"
        ),
        (
            "SELECT COUNT(*) FROM delayed_job WHERE state = 'waiting' AND kind = 'order_timeout'"
            " AND run_at < UTC_TIMESTAMP(3) - INTERVAL {} SECOND"
        ),
    ):
        with engine.connect() as conn:
            sums.append(conn.scalar(text(query.format(overdue_s))))
    return int(sum(sums))


def check(engine: Engine, ledger: list[dict[str, Any]], dead_daemons: list[str]) -> Counter[str]:
    """How often each invariant is violated by a site that came to rest; empty when all hold."""
    found: Counter[str] = Counter()
    with engine.connect() as conn:

        def ask(query: str) -> int:
            return int(conn.scalar(text(query)) or 0)

        found["I1"] = ask(
            f"SELECT COUNT(*) FROM orders WHERE status = 'unpaid'"
            f" AND expires_at < UTC_TIMESTAMP(3) - INTERVAL {OVERDUE_S} SECOND"
        )
        found["I2"] = len(stock.find_imbalances(conn))
        found["I3"] = ask(
            "SELECT COUNT(*) FROM order_line l JOIN orders o ON o.id = l.order_id LEFT JOIN "
            "stock_move m"
            " ON m.order_id = l.order_id AND m.sku_id = l.sku_id AND m.kind = 'release'"
            " WHERE (o.status = 'cancelled') <> (m.n IS NOT NULL) OR m.n <> l.n"
        )
        found["I4"] = ask(
            # Ended in the future: by a clock that was wrong.
            "SELECT COUNT(*) FROM orders WHERE cancelled_for = 'expired' AND (ended_at < expires_at"
            " OR ended_at > UTC_TIMESTAMP(3) + INTERVAL 60 SECOND)"
        )
        # Not only those that are overdue: one with a moment that is far off was led astray.
        found["I7"] = ask(
            "SELECT COUNT(*) FROM delayed_job WHERE state IN ('waiting', 'dead')"
            " AND kind = 'order_timeout'"
        )
        rows = conn.execute(text("SELECT id, status, cancelled_for, expires_at FROM orders")).all()
        refunded = set(conn.scalars(text("SELECT payment_id FROM refund")))
    kept = {row.id: row for row in rows}
    for entry in ledger:
        found.update(_check_entry(entry, kept, refunded))
    found["I8"] = len(dead_daemons)
    return +found


def _check_entry(entry: dict[str, Any], kept: dict[int, Any], refunded: set[int]) -> list[str]:
    order = kept.get(entry["order_id"])
    if order is None:
        return ["I5"]
    match entry["what"]:
        case "paid":
            return [] if order.status == "paid" and entry["payment_id"] not in refunded else ["I6"]
        case "refunded":
            return [] if entry["payment_id"] in refunded else ["I6"]
        case "cancelled":
            return [] if order.cancelled_for == "by_reader" else ["I6"]
    return []
