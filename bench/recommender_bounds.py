"""What is left behind when very many readers have been there: in Redis, in SQL, and in the memory
of a worker.

A site as `tidings up` runs it is visited by new readers, each of whom gets a feed and reports all
that can be reported of it. It prints what a reader and a behaviour have left, and whether what must
be bounded is. A few readers were there a hundred times, since what is kept of one reader must be
bounded too.

FULL=1 python -m bench.recommender_bounds     100,000 readers and a million behaviours
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from sqlalchemy import text

from tests.lab.servers import wait_until
from tests.lab.sites import Site, start_site
from tidings.client import Event, TidingsClient, TidingsError
from tidings.store.engine import make_engine
from tidings.store.redis import make_redis

OUTPUT = Path("var/bench/recommender-bounds.json")
READERS, FULL_READERS = 3_000, 100_000
PER_READER = 10
LOYAL_READERS, LOYAL_VISITS = 5, 100
THREADS = 4
MOST_READER_BYTES = 16 * 1024
MIB = 2**20


def main() -> int:
    """Visit, measure and print; the exit code is 1 if a bound does not hold."""
    readers = FULL_READERS if os.environ.get("FULL") else READERS
    with tempfile.TemporaryDirectory() as folder, start_site(Path(folder)) as site:
        site.wait_until_ready()
        before = measure(site)
        started = time.monotonic()
        visit(site, readers)
        took_s = time.monotonic() - started
        wait_until(lambda: stored(site) == stored_settled(site), 600, "SQL to have all of it")
        figures = measure(site) | {
            "readers": readers,
            "behaviours": stored(site) - int(before["behaviours"]),
            "seconds": round(took_s, 1),
            "worker_mib_before": before["worker_mib"],
            "redis_mib_before": before["redis_mib"],
        }
    for name, value in figures.items():
        print(f"{name:24}{value:>14,}")
    failed = [name for name, bound in bounds().items() if figures[name] > bound]
    for name in failed:
        print(f"{name} is {figures[name]}, above its bound {bounds()[name]}", file=sys.stderr)
    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures | {"_about": about}, indent=2) + "\n")
    print(f"written to {OUTPUT}")
    return 1 if failed else 0


def bounds() -> dict[str, float]:
    """Figure → what it may be at most, however many readers were there."""
    return {"largest_reader_bytes": MOST_READER_BYTES, "worker_mib": 400}


def visit(site: Site, readers: int) -> None:
    """Every reader once, and the loyal ones many times."""
    ids = [2**52 + number for number in range(readers)]
    ids += [2**52 + number for number in range(LOYAL_READERS)] * LOYAL_VISITS
    shares = [ids[number::THREADS] for number in range(THREADS)]
    threads = [threading.Thread(target=visit_as, args=(site, share)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def visit_as(site: Site, reader_ids: Sequence[int]) -> None:
    with TidingsClient(*site.settings.recommender.endpoints, timeout_ms=5000) as client:
        for reader_id in reader_ids:
            feed = client.feed(reader_id)
            tokens = [feed.exposure] if feed.exposure else []
            for article in feed.articles[:3]:
                tokens += [article.click, article.reading, article.liking]
            report(client, tokens[:PER_READER])


def report(client: TidingsClient, tokens: Sequence[str]) -> None:
    """Until it is taken in: a full backlog asks for patience."""
    while True:
        try:
            client.report([Event(token) for token in tokens])
        except TidingsError as ex:
            if not ex.retryable:
                raise
            time.sleep(0.2)
        else:
            return


def stored(site: Site) -> int:
    """Behaviours in SQL, an exposure counting one."""
    engine = make_engine(site.settings.database)
    with engine.connect() as conn:
        number = sum(
            conn.scalar(text(f"SELECT COUNT(*) FROM {table}")) or 0
            for table in ("behaviour", "exposure")
        )
    engine.dispose()
    return number


def stored_settled(site: Site) -> int:
    time.sleep(3)
    return stored(site)


def measure(site: Site) -> dict[str, float]:
    redis = make_redis(site.settings.redis)
    largest, keys = 0, 0
    for key in redis.scan_iter(match="t*:{*}:*", count=1000):
        keys += 1
        if keys % 50 == 0 or keys < 1000:
            largest = max(largest, redis.memory_usage(key) or 0)
    for number in range(LOYAL_READERS):
        found = redis.scan_iter(match=f"t*:{{{2**52 + number}}}:*", count=10_000)
        largest = max(largest, sum(redis.memory_usage(key) or 0 for key in found))
    info = redis.info("memory")
    workers = site.find("services.recommender").children()
    database = Path(site.settings.site.var_dir) / "tidings.db"
    return {
        "redis_mib": round(info["used_memory"] / MIB, 1),
        "redis_reader_keys": keys,
        "largest_reader_bytes": largest,
        "worker_mib": round(max(rss(worker) for worker in workers) / MIB, 1),
        "database_mib": round(database.stat().st_size / MIB, 1),
        "behaviours": stored(site),
        "log_entries": redis.xlen("t1:behaviour"),
    }


def rss(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


if __name__ == "__main__":
    sys.exit(main())
