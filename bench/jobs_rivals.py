"""The same work by other people's schedulers: `python -m bench.jobs_rivals NAME FIRST_ID N
GRACE_S`.

Each gets N one-shot jobs that are due at one moment, and each job expires one order in one
transaction by our own rule. All are set up as their documentation advises for such a burst: every
job is there before the moment comes, no misfire grace unless it is asked for, and threads for what
waits for a database. Prints how many were cancelled.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import urlsplit

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from celery import Celery
from sqlalchemy import Engine, func, select, update

from jobs.static.runs import read_now
from tidings.process.settings import Settings, load_settings
from tidings.shop import orders
from tidings.shop.tables import orders as order_table
from tidings.store.engine import make_engine, transaction

THREADS = 8
# What setting up one job may take, and the worker's start.
SETUP_S, START_S = 0.012, 4.0
SILENT_S = 8.0

app = Celery("bench.jobs_rivals", broker=os.environ.get("TIDINGS_REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=0,
    broker_transport_options={"visibility_timeout": 3600},
)


@cache
def shop() -> tuple[Settings, Engine]:
    settings = load_settings()
    return settings, make_engine(settings.database)


def expire_one(order_id: int) -> None:
    """One transaction for one order."""
    with transaction(shop()[1]) as conn:
        orders.expire(conn, [order_id], read_now(conn))


cancel_one = app.task(expire_one, name="expire_one")


def set_moment(first_id: int, n: int, seconds: float) -> datetime:
    """Have these orders expire that many seconds from now."""
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    with transaction(shop()[1]) as conn:
        conn.execute(
            update(order_table)
            .where(order_table.c.id.between(first_id, first_id + n - 1))
            .values(expires_at=due)
        )
    return due


def wait_for(first_id: int, n: int, due: datetime) -> int:
    """How many were cancelled when all were, or when nothing more happened for a while."""
    time.sleep(max((due - datetime.now(UTC)).total_seconds(), 0))
    query = select(func.count()).where(
        order_table.c.id.between(first_id, first_id + n - 1), order_table.c.status == "cancelled"
    )
    seen, seen_at = -1, time.monotonic()
    while True:
        with shop()[1].connect() as conn:
            number = int(conn.scalar(query) or 0)
        if number != seen:
            seen, seen_at = number, time.monotonic()
        if number == n or time.monotonic() - seen_at > SILENT_S:
            return number
        time.sleep(0.2)


def run_apscheduler(name: str, first_id: int, n: int, grace_s: int) -> int:
    settings, _ = shop()
    redis_url = urlsplit(settings.redis.url)
    made = (
        SQLAlchemyJobStore(url=settings.database.url)
        if name == "aps_mysql"
        else RedisJobStore(host=redis_url.hostname, port=redis_url.port)
    )
    scheduler = BackgroundScheduler(
        timezone=UTC,
        jobstores={"default": made},
        executors={"default": ThreadPoolExecutor(THREADS)},
        job_defaults={"misfire_grace_time": grace_s or None},
    )
    scheduler.start(paused=True)
    due = set_moment(first_id, n, n * SETUP_S)
    for order_id in range(first_id, first_id + n):
        scheduler.add_job(
            "bench.jobs_rivals:expire_one", "date", run_date=due, args=(order_id,), id=str(order_id)
        )
    scheduler.resume()
    assert datetime.now(UTC) < due, "setting up took too long"
    return wait_for(first_id, n, due)


def run_celery(first_id: int, n: int) -> int:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "bench.jobs_rivals:app",
        "worker",
        "--pool=threads",
    ]
    options = [
        f"--concurrency={THREADS}",
        "--loglevel=ERROR",
        "--without-gossip",
        "--without-mingle",
    ]
    worker = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        due = set_moment(first_id, n, START_S + n * SETUP_S / 4)
        for order_id in range(first_id, first_id + n):
            cancel_one.apply_async((order_id,), eta=due)
        return wait_for(first_id, n, due)
    finally:
        worker.kill()
        worker.wait()


def main() -> None:
    name, *numbers = sys.argv[1:]
    first_id, n, grace_s = map(int, numbers)
    logging.disable(logging.WARNING)
    done = (
        run_celery(first_id, n) if name == "celery" else run_apscheduler(name, first_id, n, grace_s)
    )
    print(done, flush=True)
    # Threads of theirs may still wait for what will never come.
    os._exit(0)


if __name__ == "__main__":
    main()
