"""How many orders expire a second, and how late, beside APScheduler's own stores and Celery's ETA:
`make bench-jobs`.

One run, one machine, one MariaDB that syncs each commit to the disk. All do the same work by the
same rule of ours: cancel an order and give its stock back in one transaction. The machine may be
shared, so nothing is compared across time: each round asks all of them one after the other, and
what is written down are medians over the rounds.

    python -m bench.jobs         the tables, and var/bench/jobs.json; FULL=1 takes more rounds and
                                 longer ones
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from unittest import mock

from apscheduler.schedulers.background import BackgroundScheduler
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.jobs_site import HOT_SKU, HOT_STOCK, SKUS, Site
from jobs.delayed.batches import Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.delayed.job_store import TableJobStore
from tests.faults.invariants import read_ledger
from tests.lab.handlers import HANDLERS
from tests.lab.servers import wait_until
from tests.lab.shop import ANYBODY
from tidings.shop import orders, stock
from tidings.shop.orders import Line
from tidings.store import delayed
from tidings.store.redis import make_redis

FULL = bool(os.environ.get("FULL"))
ROUNDS = 5 if FULL else 3
BURST = 10_000
BACKLOG = 60_000 if FULL else 20_000
RIVAL_JOBS = 10_000 if FULL else 400
STEADY_S = 30 if FULL else 6
HOT_S = 20 if FULL else 5
PENDING = 1_000_000
COSTED = 250
OUTPUT = Path("var/bench/jobs.json")
PACKAGES = ("apscheduler", "sqlalchemy", "pymysql", "redis", "celery")

RIVALS = {
    "aps_mysql": "APScheduler, SQLAlchemy store on MariaDB",
    "aps_redis": "APScheduler, Redis store",
    "celery": "Celery ETA on Redis",
}
# What a reader of the table sees, and what each is asked for.
OURS = {
    "cancels_per_s": "cancels a second, stock given back in the same transaction (≥ 4,000)",
    "burst10k_last_late_s": "10,000 due in one second: the last one is late by, s (≤ 1)",
    "steady_late_p50_ms": "150 orders a second, with hints: late p50, ms (≤ 30)",
    "steady_late_p99_ms": "… p99, ms (≤ 150)",
    "steady_late_p50_ms_no_hint": "150 orders a second, no hints: late p50, ms (≤ 600)",
    "steady_late_p99_ms_no_hint": "… p99, ms (≤ 1,100)",
    "look_1m_pending_ms": "a look with 1,000,000 pending, ms (≤ 1)",
    "order_cost_p50_ms": "what the promise adds to placing an order, p50, ms (≤ 0.3)",
    "order_place_p50_ms": "placing an order in all, p50, ms",
    "hot_place_p50_ms": "32 clients order one product that keeps expiring: placing p50, ms",
    "hot_place_p99_ms": "… p99, ms",
    "hot_placed_per_s": "… orders a second",
    "deadlocks": "deadlocks in all of this (0)",
}

Figures = dict[str, float]
Samples = defaultdict[str, list[float]]


def measure_backlog(site: Site) -> Figures:
    """What came due all at once, and how fast it is worked off."""
    moments = [datetime.now(UTC) - timedelta(seconds=60)] * BACKLOG
    ids = site.fill(moments)
    site.promise(ids, moments)
    site.wait_cancelled(ids[0], ids[-1])
    return {"cancels_per_s": BACKLOG / site.span_s(ids)}


def measure_burst(site: Site) -> Figures:
    """Orders that expire within one second: how late is the last, as a reader sees who asks for
    it."""
    for lead_s in (5, 10, 20, 40):
        start = datetime.now(UTC) + timedelta(seconds=lead_s)
        moments = [start + timedelta(seconds=n / BURST) for n in range(BURST)]
        ids = site.fill(moments)
        site.promise(ids, moments)
        in_time = datetime.now(UTC) < start
        site.wait_cancelled(ids[0], ids[-1])
        if in_time:
            break
    seen_s = site.since_last_s(ids[0], ids[-1])
    return {"burst10k_last_late_s": max(seen_s, site.lateness_s(ids[0], ids[-1])[-1])}


def measure_steady(site: Site, number: int, *, hinted: bool) -> Figures:
    """150 orders a second, each to expire in less than a second."""
    redis = make_redis(site.settings.redis)
    placed: list[int] = []
    started = time.monotonic()

    def place(n: int) -> None:
        for k in range(STEADY_S * 30):
            time.sleep(max(started + k / 30 - time.monotonic(), 0))
            after_s = 0.2 + (k * 7 + n) % 60 / 100
            lines = [Line((k * 13 + n) % SKUS + 1, 1)]
            order = orders.place(
                site.engine,
                n,
                lines,
                key=f"{number}{hinted}{n}-{k}",
                timeout_s=after_s,
                **ANYBODY,
            )
            placed.append(order.order_id)
            if hinted:
                delayed.hint(redis, after_s=after_s)

    threads = [threading.Thread(target=place, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.wait_cancelled(min(placed), max(placed))
    late = site.lateness_s(min(placed), max(placed))
    assert len(late) == len(placed) == STEADY_S * 150
    suffix = "" if hinted else "_no_hint"
    return {
        f"steady_late_p50_ms{suffix}": 1000 * share(late, 0.5),
        f"steady_late_p99_ms{suffix}": 1000 * share(late, 0.99),
    }


def measure_order_cost(site: Site, number: int) -> Figures:
    """Orders with the promise of their expiry and without it, in turn."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for k in range(COSTED):
        for promises in (True, False):
            with mock.patch.object(
                delayed, "schedule_at", delayed.schedule_at if promises else mock.Mock()
            ):
                started = time.perf_counter()
                orders.place(
                    site.engine,
                    99,
                    [Line(k % SKUS + 1, 1)],
                    key=f"{number}-{k}-{promises}",
                    timeout_s=86_400,
                    **ANYBODY,
                )
                times[promises].append(1000 * (time.perf_counter() - started))
    with_it, without = (statistics.median(times[promises]) for promises in (True, False))
    return {"order_cost_p50_ms": with_it - without, "order_place_p50_ms": with_it}


def measure_hot(site: Site) -> Figures:
    """32 clients of four gateways order one product while its orders expire: nothing oversold,
    nothing lost."""
    ledger = site.folder / "ledger"
    ledger.unlink(missing_ok=True)
    plan = {"ledger": str(ledger), "timeout_s": 1.0, "products": [HOT_SKU], "placers": 8}
    with site.crowd(4, plan | {"orders_per_s": 50.0, "followed": 0.0}):
        wait_until(lambda: bool(read_ledger(ledger)), 30, "the first order")
        time.sleep(HOT_S)
    placed = read_ledger(ledger)
    held = (
        "SELECT COUNT(*) FROM orders JOIN order_line ON order_id = id WHERE status = "
        f"'unpaid' AND sku_id = {HOT_SKU}"
    )
    wait_until(lambda: site.ask(held) == 0, 30, "the last of them to expire")
    with site.engine.connect() as conn:
        assert stock.find_imbalances(conn) == [], "oversold, or lost"
    assert site.ask(f"SELECT quantity FROM sku WHERE id = {HOT_SKU}") == HOT_STOCK
    ids = {entry["order_id"] for entry in placed}
    kept = (
        f"SELECT COUNT(*) FROM order_line WHERE sku_id = {HOT_SKU} AND order_id IN "
        f"({','.join(map(str, ids))})"
    )
    assert site.ask(kept) == len(ids), "an order that was confirmed is gone"
    took_ms = sorted(entry["took_ms"] for entry in placed)
    return {
        "hot_place_p50_ms": share(took_ms, 0.5),
        "hot_place_p99_ms": share(took_ms, 0.99),
        "hot_placed_per_s": len(placed) / HOT_S,
    }


def measure_look(site: Site) -> Figures:
    """What the daemon asks once a second, of a table in which a million jobs wait."""
    far = "UTC_TIMESTAMP(3) + INTERVAL 1 DAY + INTERVAL seq SECOND"
    with site.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO delayed_job (kind, ref, run_at, state, attempts, payload, created_at)"
                f" SELECT 'order_timeout', CONCAT('p', seq), {far}, 'waiting', 0, '{{}}', "
                "UTC_TIMESTAMP(3)"
                f" FROM seq_1_to_{PENDING}"
            )
        )
    store = TableJobStore(
        site.engine, Batches(site.engine, HANDLERS, ClockGuard(), threading.Event())
    )
    store.start(BackgroundScheduler(timezone=UTC), "due")
    took_ms = []
    for _ in range(300):
        started = time.perf_counter()
        store.get_due_jobs(datetime.now(UTC))
        took_ms.append(1000 * (time.perf_counter() - started))
    return {
        "look_1m_pending_ms": statistics.median(took_ms),
        "look_1m_pending_p99_ms": share(sorted(took_ms), 0.99),
    }


def measure_rival(site: Site, name: str, *, grace_s: int = 0) -> Figures:
    """Jobs that are all due at once: cancels a second, how late the last one was, and what was
    dropped."""
    ids = site.fill([datetime.now(UTC) + timedelta(hours=1)] * RIVAL_JOBS)
    command = [
        sys.executable,
        "-m",
        "bench.jobs_rivals",
        name,
        str(ids[0]),
        str(RIVAL_JOBS),
        str(grace_s),
    ]
    with subprocess.Popen(
        command, env=site.environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
    if not told:
        raise RuntimeError(f"{name} has ended")
    done = int(told)
    late = site.lateness_s(ids[0], ids[-1])
    with site.engine.begin() as conn:
        for table, column in (
            ("stock_move", "order_id"),
            ("order_line", "order_id"),
            ("orders", "id"),
        ):
            conn.execute(text(f"DELETE FROM {table} WHERE {column} BETWEEN {ids[0]} AND {ids[-1]}"))
    if grace_s:
        return {f"{name}_default_dropped": RIVAL_JOBS - done}
    assert done == RIVAL_JOBS, f"{name} lost {RIVAL_JOBS - done}"
    return {f"{name}_cancels_per_s": done / (late[-1] - late[0]), f"{name}_last_late_s": late[-1]}


def share(values: Sequence[float], part: float) -> float:
    """A quantile of what is sorted."""
    return values[int(len(values) * part)]


def measure(site: Site) -> Samples:
    """Every figure of every round."""
    samples: Samples = defaultdict(list)

    def note(figures: Figures) -> None:
        print("  ".join(f"{name} {value:,.2f}" for name, value in figures.items()), flush=True)
        for name, value in figures.items():
            samples[name].append(value)

    deadlocks = 0
    for number in range(ROUNDS):
        before = site.count_deadlocks()
        with site.daemon():
            note(measure_order_cost(site, number))
            note(measure_burst(site))
            note(measure_backlog(site))
            note(measure_steady(site, number, hinted=True))
            note(measure_steady(site, number, hinted=False))
            note(measure_hot(site))
        deadlocks += site.count_deadlocks() - before
        # No daemon of ours runs meanwhile: it would expire what they leave lying.
        for name in RIVALS:
            note(measure_rival(site, name))
    note(measure_rival(site, "aps_mysql", grace_s=1))
    note(measure_look(site))
    samples["deadlocks"].append(deadlocks)
    return samples


def show(samples: Samples, figures: Figures) -> None:
    """For people: ours, and then all beside each other."""
    console = Console(width=120)
    table = Table("Tidings", "median", "least", "most")
    for name, what in OURS.items():
        table.add_row(
            what,
            *(f"{value:,.2f}" for value in (figures[name], min(samples[name]), max(samples[name]))),
        )
    console.print(table)
    table = Table(
        "cancels a second",
        "median",
        "least",
        "most",
        "Tidings ÷",
        f"{RIVAL_JOBS:,} at once: last late, s",
    )
    own = samples["cancels_per_s"]
    table.add_row(
        "Tidings",
        *(f"{value:,.0f}" for value in (figures["cancels_per_s"], min(own), max(own))),
        "1",
        "",
    )
    for name, what in RIVALS.items():
        theirs = samples[f"{name}_cancels_per_s"]
        rates = (f"{value:,.0f}" for value in (statistics.median(theirs), min(theirs), max(theirs)))
        late = figures[f"{name}_last_late_s"]
        table.add_row(what, *rates, f"{figures[f'cancels_ratio_{name}']:,.1f}", f"{late:,.1f}")
    console.print(table)
    dropped = figures["aps_mysql_default_dropped"]
    print(
        f"With the grace that APScheduler gives by default it dropped {dropped:,.0f} of "
        f"{RIVAL_JOBS:,} jobs."
    )


def main() -> None:
    """Measure everything and write var/bench/jobs.json."""
    started = time.monotonic()
    with Site.open() as site:
        samples = measure(site)
    figures = {name: statistics.median(values) for name, values in samples.items()}
    for name in RIVALS:
        figures[f"cancels_ratio_{name}"] = (
            figures["cancels_per_s"] / figures[f"{name}_cancels_per_s"]
        )
    show(samples, figures)
    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "load_1m": os.getloadavg()[0],
        "seconds": round(time.monotonic() - started),
        "rounds": ROUNDS,
        "rival_jobs": RIVAL_JOBS,
        "database": "MariaDB, an fsync for each commit",
        "spread": {
            name: [round(min(values), 3), round(max(values), 3)] for name, values in samples.items()
        },
    }
    rounded = {name: round(value, 3) for name, value in figures.items()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(rounded | {"_about": about}, indent=2) + "\n")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
