"""What must hold of money and stock after any fault, asked of the database, of the bank's books and
of what readers were told.

    found = check(shop, told)
    assert not found, found
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from tests.faults.money_bank import TAKEN, Event
from tests.faults.money_readers import Placed, Told
from tests.faults.money_site import PRODUCTS, Shop
from tidings.shop import stock

OVERDUE_S = 2
# One name for each thing that may not happen; the figures bear the same names.
INVARIANTS = {
    "false_refusals": "rounds of equal orders in which one was refused though the order stands",
    "oversold": "pieces that were promised and are not there",
    "unbalanced": "products and orders whose books do not balance",
    "over_cap": "readers and addresses who hold more than they may",
    "overdue": "orders that stay unpaid past their time",
    "lost": "acts that were acknowledged and are not there",
    "doubled": "orders, charges, releases and refunds that happened twice",
    "refunds_adrift": "refunds that are neither paid out nor in a person's list",
    "callbacks_lost": "callbacks that were taken in and left no trace, or no alarm",
    "wrong_answers": "answers that are not in the contract",
    "died": "programs that ended without being told to",
}


def check(shop: Shop, told: Told) -> Counter[str]:
    """How often each invariant is violated; empty when all hold."""
    found = Counter(
        unbalanced=_count_unbalanced(shop),
        oversold=_count_oversold(shop, told),
        overdue=shop.count(
            "SELECT COUNT(*) FROM orders WHERE status = 'unpaid'"
            f" AND expires_at < UTC_TIMESTAMP(3) - INTERVAL {OVERDUE_S} SECOND"
        ),
        wrong_answers=told.wrong.total() + shop.bank.wrong.total(),
        callbacks_lost=_count_lost_callbacks(shop),
        died=len(shop.died),
    )
    found += _check_acts(shop, told)
    found += _check_money(shop)
    return +found


def check_caps(shop: Shop, *, per_reader: int, per_address: int, pieces: int, cents: int) -> int:
    """How many readers and addresses hold more than they may."""
    per = (
        "SELECT COUNT(*) FROM (SELECT {0} FROM orders WHERE status = 'unpaid' AND {0} IS NOT NULL"
        " GROUP BY {0} HAVING COUNT(*) > {1}) x"
    )
    held = (
        "SELECT COUNT(*) FROM (SELECT reader_id FROM orders o"
        " JOIN order_line l ON l.order_id = o.id"
        f" WHERE status = 'unpaid' GROUP BY reader_id HAVING SUM(n) > {pieces}"
        f" OR SUM(n * price_cents) > {cents}) x"
    )
    queries = (per.format("reader_id", per_reader), per.format("address", per_address), held)
    return sum(shop.count(query) for query in queries)


def _count_unbalanced(shop: Shop) -> int:
    with shop.engine.connect() as conn:
        products = len(stock.find_imbalances(conn))
    # A piece goes back once, when its order is cancelled, and only then.
    return products + shop.count(
        "SELECT COUNT(*) FROM order_line l JOIN orders o ON o.id = l.order_id"
        " LEFT JOIN stock_move m"
        " ON m.order_id = l.order_id AND m.sku_id = l.sku_id AND m.kind = 'release'"
        " WHERE (o.status = 'cancelled') <> (m.n IS NOT NULL) OR m.n <> l.n"
    )


def _count_oversold(shop: Shop, told: Told) -> int:
    """By what readers were told, and not by the quantity, which a wrong program may have made
    up."""
    with shop.engine.connect() as conn:
        gone = set(conn.scalars(text("SELECT id FROM orders WHERE status = 'cancelled'")))
        quantities: dict[int, int] = {
            row.id: row.quantity for row in conn.execute(text("SELECT id, quantity FROM sku"))
        }
    promised: Counter[int] = Counter()
    for placed in told.placed.values():
        if placed.order_id not in gone:
            promised.update(dict(placed.lines))
    return sum(
        max(0, promised[id_] - pieces) + max(0, -quantities[id_])
        for id_, (_, pieces) in PRODUCTS.items()
    )


def _check_acts(shop: Shop, told: Told) -> Counter[str]:
    found: Counter[str] = Counter()
    with shop.engine.connect() as conn:
        orders = {row.id: row for row in conn.execute(text("SELECT * FROM orders"))}
        lines: dict[int, dict[int, int]] = {}
        for row in conn.execute(text("SELECT order_id, sku_id, n FROM order_line")):
            lines.setdefault(row.order_id, {})[row.sku_id] = row.n
        payments = {row.id: row for row in conn.execute(text("SELECT * FROM payment"))}
        refunded = set(conn.scalars(text("SELECT payment_id FROM refund")))
    for placed in told.placed.values():
        found["lost"] += _is_lost(placed, orders, lines)
    for order_id in told.cancelled:
        found["lost"] += orders[order_id].cancelled_for != "by_reader"
    for payment_id, order_id in told.paying.items():
        found["lost"] += payment_id not in payments or payments[payment_id].order_id != order_id
    for event in shop.bank.events.values():
        paid = payments.get(event.payment_id)
        match event.verdict:
            case "paid":
                is_kept = paid is not None and orders[paid.order_id].status == "paid"
                found["lost"] += not (is_kept and event.payment_id not in refunded)
            case "refunded":
                found["lost"] += event.payment_id not in refunded
    return found


def _count_lost_callbacks(shop: Shop) -> int:
    with shop.engine.connect() as conn:
        rows = {
            row.event_id: row
            for row in conn.execute(text("SELECT event_id, verdict, is_open FROM payment_callback"))
        }
    return sum(
        not _is_kept(event, rows.get(event.kept_as))
        for event in shop.bank.events.values()
        if event.status in (200, 422)
    )


def _is_kept(event: Event, row: Any) -> bool:
    """There is a row of it, and what is odd waits there for a person."""
    if row is None:
        return False
    needs_person = event.status == 422 or event.verdict not in TAKEN
    return bool(
        (event.status == 422 or row.verdict == event.verdict) and row.is_open == needs_person
    )


def _is_lost(
    placed: Placed, orders: Mapping[int, Any], lines: Mapping[int, Mapping[int, int]]
) -> bool:
    row = orders.get(placed.order_id)
    return (
        row is None
        or (row.reader_id, row.total_cents) != (placed.reader_id, placed.total_cents)
        or lines.get(placed.order_id) != dict(placed.lines)
    )


def _check_money(shop: Shop) -> Counter[str]:
    """The bank keeps the price of each paid order and nothing else, but for what a person has to
    see to."""
    found: Counter[str] = Counter()
    books = shop.bank.books
    with shop.engine.connect() as conn:
        orders = {row.id: row for row in conn.execute(text("SELECT * FROM orders"))}
        payments = {row.id: row for row in conn.execute(text("SELECT * FROM payment"))}
        refunds = {row.payment_id: row for row in conn.execute(text("SELECT * FROM refund"))}
    for payment_id, given in books.given_back.items():
        found["doubled"] += len(given) > 1 or sum(given) > books.taken.get(payment_id, 0)
    listed = {
        row["payment_id"] for row in shop.command("refunds", "list") if row["state"] == "dead"
    }
    kept: Counter[int] = Counter()
    for payment_id in books.taken:
        order_id = payments[payment_id].order_id
        is_owed = payment_id in refunds
        is_given = not books.kept(payment_id)
        if is_owed and not is_given and payment_id not in listed:
            found["refunds_adrift"] += 1
        if is_given and not is_owed:
            found["doubled"] += 1
        if not is_owed:
            kept[order_id] += books.kept(payment_id)
    sent_back = {refund.order_id for refund in refunds.values()}
    for order_id, order in orders.items():
        due = order.total_cents if order.status == "paid" else 0
        if kept[order_id] < due:
            # Paid and sent back: one payment was settled twice.
            found["doubled" if order_id in sent_back else "lost"] += 1
        found["doubled"] += kept[order_id] > due
    return found
