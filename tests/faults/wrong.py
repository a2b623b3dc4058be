"""Five daemons, each with a mistake that people make, for the suite to catch: `python -m
tests.faults.wrong NAME`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from jobs.daemon import BATCH_THREADS, Daemon
from jobs.delayed.batches import BATCH_ROWS, Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.delayed.job_store import TableJobStore
from jobs.engines import make_engines
from jobs.static.context import Context, make_owner_name
from jobs.static.runs import read_now
from tests.lab.handlers import HANDLERS
from tidings.process.metrics import serve_metrics
from tidings.process.settings import load_settings
from tidings.shop import orders, stock
from tidings.shop.orders import ORDER_TIMEOUT
from tidings.shop.tables import orders as order_table
from tidings.store.delayed import DelayedJob
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction
from tidings.store.redis import make_redis


def expire_unchecked(
    conn: Connection, due: Sequence[DelayedJob], _now: datetime
) -> Mapping[int, datetime]:
    """Cancels the order that a job names, paid or not: "the job would not be there if it had been
    paid"."""
    ids = [int(job.ref) for job in due]
    cancelled = select(order_table.c.id).where(
        order_table.c.id.in_(ids), order_table.c.status == "cancelled"
    )
    ids = sorted(set(ids) - set(conn.scalars(cancelled)))
    if ids:
        stock.write_releases(conn, ids)
        _cancel(conn, ids)
        stock.give_back(conn, ids)
    return {}


class DeletesFirst(Batches):
    """Takes the rows out of the table, commits, and then does what they said, as a queue's consumer
    would."""

    def _run_batch(self, kind: str) -> int:
        with transaction(self.engine) as conn:
            due = _claim(conn, kind, delayed_job.c.run_at <= database_now(conn))
            conn.execute(delete(delayed_job).where(delayed_job.c.id.in_([job.id for job in due])))
        with transaction(self.engine) as conn:
            orders.expire(conn, [int(job.ref) for job in due], read_now(conn))
        return len(due)


class OwnClock(Batches):
    """Asks this machine's clock what is due; and this machine's clock is an hour ahead."""

    def _run_batch(self, kind: str) -> int:
        now = datetime.now(UTC) + timedelta(hours=1)
        with transaction(self.engine) as conn:
            due = _claim(conn, kind, delayed_job.c.run_at <= now)
            unpaid = select(order_table.c.id).where(
                order_table.c.id.in_([int(job.ref) for job in due]),
                order_table.c.status == "unpaid",
                order_table.c.expires_at <= now,
            )
            ids = list(conn.scalars(unpaid.with_for_update()))
            if ids:
                stock.write_releases(conn, ids)
                _cancel(conn, ids)
                stock.give_back(conn, ids)
            conn.execute(delete(delayed_job).where(delayed_job.c.id.in_([job.id for job in due])))
        return len(due)


class StockOutside(Batches):
    """Cancels in one transaction and gives the stock back in the next."""

    def _run_batch(self, kind: str) -> int:
        with transaction(self.engine) as conn:
            due = _claim(conn, kind, delayed_job.c.run_at <= database_now(conn))
            unpaid = select(order_table.c.id).where(
                order_table.c.id.in_([int(job.ref) for job in due]),
                order_table.c.status == "unpaid",
            )
            ids = list(conn.scalars(unpaid.with_for_update()))
            if ids:
                _cancel(conn, ids)
            conn.execute(delete(delayed_job).where(delayed_job.c.id.in_([job.id for job in due])))
        if ids:
            with transaction(self.engine) as conn:
                stock.write_releases(conn, ids)
                stock.give_back(conn, ids)
        return len(due)


class OnlyHinted(TableJobStore):
    """Looks when it is told to, and only then."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hinted = threading.Event()

    def get_due_jobs(self, now: datetime) -> list[Any]:
        if not self.hinted.is_set():
            self.looks += 1
            return []
        self.hinted.clear()
        return super().get_due_jobs(now)


def make_wrong(name: str) -> Daemon:
    """A daemon with the mistake of this name."""
    settings = load_settings()
    engines = make_engines(settings, batch_connections=BATCH_THREADS)
    context = Context(engines.work, make_redis(settings.redis), settings, make_owner_name())
    handlers = {**HANDLERS, ORDER_TIMEOUT: expire_unchecked} if name == "unchecked" else HANDLERS
    batches = BATCHES.get(name, Batches)(engines.batch, handlers, ClockGuard(), context.stopping)
    if name != "hints":
        return Daemon(context, [], [], TableJobStore(engines.look, batches))
    store = OnlyHinted(engines.look, batches)
    daemon = Daemon(context, [], [], store)
    _call_before(daemon.scheduler, "wakeup", store.hinted.set)
    return daemon


BATCHES: dict[str, type[Batches]] = {
    "deletes_first": DeletesFirst,
    "own_clock": OwnClock,
    "stock_outside": StockOutside,
}
MISTAKES = ("unchecked", *BATCHES, "hints")


def _call_before(scheduler: Any, name: str, before: Callable[[], object]) -> None:
    original = getattr(scheduler, name)

    def wrapped() -> None:
        # The scheduler wakes itself for each of its own jobs; a hint comes from the listener's
        # thread.
        if threading.current_thread().name == "hints":
            before()
        original()

    setattr(scheduler, name, wrapped)


def _claim(conn: Connection, kind: str, is_due: Any) -> list[DelayedJob]:
    jobs = delayed_job.c
    query = select(jobs.id, jobs.kind, jobs.ref, jobs.run_at, jobs.attempts, jobs.payload).where(
        jobs.state == "waiting", jobs.kind == kind, is_due
    )
    query = query.order_by(jobs.run_at).limit(BATCH_ROWS).with_for_update(skip_locked=True)
    return [DelayedJob(**row._mapping) for row in conn.execute(query)]


def _cancel(conn: Connection, ids: list[int]) -> None:
    values = {"status": "cancelled", "cancelled_for": "expired", "ended_at": database_now(conn)}
    conn.execute(update(order_table).where(order_table.c.id.in_(ids)).values(values))


if __name__ == "__main__":
    daemon = make_wrong(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    serve_metrics(
        load_settings().jobs.metrics_bind, lambda: daemon.is_ready, lambda: daemon.is_live
    )
    os._exit(daemon.run())
