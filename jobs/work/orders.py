"""Static jobs that look after orders: expiries that did not happen, and books that do not balance.

They find and tell. Where a mistake could cost money they leave the decision to an operator.

    STATIC_JOBS = (StaticJob("overdue_orders", "* * * * *", find_overdue_orders, missed="skip"),)
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge

from jobs.static.context import JobFailedError, Routine, Run
from tidings.shop import orders, stock
from tidings.store import delayed_rows

OVERDUE_S = 60
MOST_FOUND = 1000

log = structlog.get_logger(__name__)
_PENDING = Gauge(
    "tidings_jobs_pending",
    "Delayed jobs by kind and state, counted once a minute",
    ["kind", "state"],
)
_OVERDUE = Counter(
    "tidings_orders_overdue", "Unpaid orders found long after their time; alert on any"
)
_UNBALANCED = Gauge(
    "tidings_stock_unbalanced", "Products whose quantity the ledger or the orders do not explain"
)


def find_overdue_orders(run: Run) -> str:
    """Alarm about orders that should have expired a minute ago, and promise their expiry anew."""
    engine = run.context.engine
    with engine.connect() as conn:
        found = orders.find_overdue(conn, run.now - timedelta(seconds=OVERDUE_S), limit=MOST_FOUND)
        _PENDING.clear()
        for count in delayed_rows.count_by_state(conn):
            _PENDING.labels(count.kind, count.state).set(count.number)
    renewed = [order.order_id for order in found if not order.is_promised]
    for order_id in renewed:
        orders.promise_expiry(engine, order_id, run.now)
    if not found:
        return Routine("no order is overdue")
    _OVERDUE.inc(len(found))
    log.critical(
        "orders_overdue",
        orders=[order.order_id for order in found[:20]],
        number=len(found),
        promised_anew=len(renewed),
    )
    return f"{len(found)} orders overdue, {len(renewed)} promised anew"


def balance_books(run: Run) -> str:
    """Check for every product that quantity and holds are what was received and not sold."""
    with run.context.engine.connect() as conn:
        wrong = stock.find_imbalances(conn)
    _UNBALANCED.set(len(wrong))
    if wrong:
        log.critical(
            "stock_unbalanced", products=[repr(row) for row in wrong[:20]], number=len(wrong)
        )
        raise JobFailedError(
            f"{len(wrong)} products do not balance: "
            f"{', '.join(str(row.sku_id) for row in wrong[:20])}"
        )
    return Routine("every product balances")
