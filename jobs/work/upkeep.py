"""Static jobs that look after what others do: orders that should have expired, books that should
balance, counters that should agree, and rows that nobody needs any more.

They find and tell; where a mistake could cost money they leave the decision to somebody. Each works
in short transactions, a few hundred rows at a time, so that no reader ever waits for them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import String

from jobs.static.context import JobFailedError, Run
from jobs.tables import job_run
from tidings.news.tables import article, article_count
from tidings.reading.acts import Action
from tidings.reading.tables import behaviour
from tidings.shop import stock
from tidings.shop.orders import ORDER_TIMEOUT, Status
from tidings.shop.tables import orders
from tidings.store import delayed
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import transaction

OVERDUE_S = 60
CHUNK = 500
MOST_FOUND = 1000
COUNTED = tuple(action.label for action in Action)

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
_CORRECTED = Counter("tidings_counters_corrected", "Article counters that were wrong")


def find_overdue_orders(run: Run) -> str:
    """Alarm about orders that should have expired a minute ago, and promise their expiry anew."""
    engine = run.context.engine
    before = run.now - timedelta(seconds=OVERDUE_S)
    overdue = and_(orders.c.status == Status.UNPAID, orders.c.expires_at < before)
    promised = exists().where(
        delayed_job.c.kind == ORDER_TIMEOUT, delayed_job.c.ref == sql_cast(orders.c.id, String(20))
    )
    with engine.connect() as conn:
        found = conn.execute(
            select(orders.c.id, promised.label("is_promised"))
            .where(overdue)
            .order_by(orders.c.id)
            .limit(MOST_FOUND)
        ).all()
        _count_pending(conn)
    renewed = [row.id for row in found if not row.is_promised]
    for order_id in renewed:
        _promise_again(engine, order_id, run.now)
    if not found:
        return "no order is overdue"
    _OVERDUE.inc(len(found))
    log.critical(
        "orders_overdue",
        orders=[row.id for row in found[:20]],
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
    return "every product balances"


def recount(run: Run) -> str:
    """Count the behaviours of recent articles anew, and correct counters that differ."""
    # Older articles have behaviours that were pruned; theirs cannot be counted any more.
    since = run.now - timedelta(days=run.context.settings.jobs.keep_days - 1)
    with run.context.engine.connect() as conn:
        # Without locks, so an article that is being read just now may look wrong; those are looked
        # at again.
        kept = {row.article_id: row for row in conn.execute(select(article_count))}
        found = _sum_behaviours(conn, article.c.published_at >= since)
        recent = set(conn.scalars(select(article.c.id).where(article.c.published_at >= since)))
    doubtful = [id_ for id_ in sorted(recent) if _differs(kept.get(id_), found.get(id_))]
    corrected = 0
    for start in range(0, len(doubtful), CHUNK):
        if run.context.stopping.is_set():
            break
        corrected += _recount_locked(run.context.engine, doubtful[start : start + CHUNK])
    _CORRECTED.inc(corrected)
    return f"{corrected} articles corrected"


def prune(run: Run) -> str:
    """Delete behaviours and job history that are older than JOBS_KEEP_DAYS."""
    before = run.now - timedelta(days=run.context.settings.jobs.keep_days)
    newest = (
        select(func.max(job_run.c.slot).label("slot"), job_run.c.job)
        .group_by(job_run.c.job)
        .subquery()
    )
    with run.context.engine.connect() as conn:
        # The last run of each job says what has been missed; it stays, however old.
        keep = {row.job: row.slot for row in conn.execute(select(newest.c.job, newest.c.slot))}
    with transaction(run.context.engine) as conn:
        runs = 0
        for name, slot in keep.items():
            old = (job_run.c.job == name, job_run.c.slot < min(before, slot))
            runs += conn.execute(delete(job_run).where(*old)).rowcount
    acts = _prune_behaviours(run, before)
    return f"{acts} behaviours and {runs} runs deleted"


def _promise_again(engine: Engine, order_id: int, now: datetime) -> None:
    try:
        with transaction(engine) as conn:
            delayed.schedule_at(conn, ORDER_TIMEOUT, ref=order_id, run_at=now)
    except delayed.AlreadyScheduledError:
        return


def _count_pending(conn: Connection) -> None:
    _PENDING.clear()
    query = select(delayed_job.c.kind, delayed_job.c.state, func.count()).group_by(
        delayed_job.c.state, delayed_job.c.kind
    )
    for kind, state, number in conn.execute(query):
        _PENDING.labels(kind, state).set(number)


def _sum_behaviours(conn: Connection, which: ColumnElement[bool]) -> dict[int, Row[Any]]:
    sums = [
        func.sum(case((behaviour.c.action == name, 1), else_=0)).label(name) for name in COUNTED
    ]
    query = select(behaviour.c.article_id, *sums).join(
        article, article.c.id == behaviour.c.article_id
    )
    return {
        row.article_id: row
        for row in conn.execute(query.where(which).group_by(behaviour.c.article_id))
    }


def _differs(kept: Row[Any] | None, found: Row[Any] | None) -> bool:
    return any(
        (getattr(kept, name, None) or 0) != (getattr(found, name, None) or 0) for name in COUNTED
    )


def _recount_locked(engine: Engine, ids: list[int]) -> int:
    """How many of these articles had a counter that was wrong."""
    counts = article_count.c
    with transaction(engine) as conn:
        _insert_missing(conn, ids)
        # Locked before the behaviours are counted: whoever adds one waits for this row with it, so
        # that no increment falls between the counting and the setting.
        query = select(article_count).where(counts.article_id.in_(ids)).order_by(counts.article_id)
        kept = conn.execute(query.with_for_update()).all()
        found = _sum_behaviours(conn, article.c.id.in_(ids))
        wrong = [row.article_id for row in kept if _differs(row, found.get(row.article_id))]
        for article_id in wrong:
            right = {name: int(getattr(found.get(article_id), name, 0) or 0) for name in COUNTED}
            conn.execute(update(article_count).where(counts.article_id == article_id).values(right))
        return len(wrong)


def _insert_missing(conn: Connection, ids: list[int]) -> None:
    has_counts = exists().where(article_count.c.article_id == article.c.id)
    has_acts = exists().where(behaviour.c.article_id == article.c.id)
    missing = conn.scalars(
        select(article.c.id).where(article.c.id.in_(ids), ~has_counts, has_acts)
    ).all()
    for article_id in missing:
        try:
            with conn.begin_nested():
                conn.execute(insert(article_count).values(article_id=article_id))
        except IntegrityError:
            continue  # Somebody counted its first act just now.


def _prune_behaviours(run: Run, before: datetime) -> int:
    gone = 0
    while not run.context.stopping.is_set():
        with run.context.engine.connect() as conn:
            query = select(behaviour.c.id).where(behaviour.c.at < before).order_by(behaviour.c.at)
            ids = list(conn.scalars(query.limit(CHUNK)))
        if not ids:
            break
        with transaction(run.context.engine) as conn:
            gone += conn.execute(delete(behaviour).where(behaviour.c.id.in_(ids))).rowcount
    return gone
