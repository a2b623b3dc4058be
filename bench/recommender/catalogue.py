"""What a million articles cost a recommender: its start, its memory, its idling, a take-down.

A process of its own on an SQLite file is measured from outside: a worker with the million against
one without. A take-down is asked for as an editor does it, in a channel that has one article, whose
feed is empty once it is gone. All that happens after an import of 100,000 into the running site.
"""

from __future__ import annotations

import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy import Connection, Engine, make_url

from tests.faults.rpc_site import Recommender, Site, start_site
from tests.lab.servers import wait_until
from tidings.news.articles import Articles
from tidings.news.publishing import restore, take_down
from tidings.process.clock import now_ms
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.rpc.calling.client import Client, make_client
from tidings.rpc.calling.policy import Policy
from tidings.store.engine import make_engine, transaction
from tidings.store.redis import make_redis
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest

ARTICLES, IMPORTED = 1_000_000, 100_000
CHANNELS = 100
# Its only article is the one that is taken down.
LONELY = 999
TAKE_DOWNS = 10
# Longer than the catalogue reads an import again; the words of what is new are read meanwhile, and
# take longer on a busy machine.
SETTLE_S, IDLE_S = 35.0, 20.0
AT_WORK = 0.05
GIVE_UP_S = 120.0
# Recursion makes the rows where they are stored; publications lie in the past, in no order.
BULK = """
WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO article (id, source_id, channel_id, author_id, title, summary, body, status,
                     published_at, updated_at)
SELECT i, 'bulk:' || i, 2 + i * 7919 % :channels, CASE WHEN i % 10 THEN 1 + i * 7 % 1000 END,
       'Title ' || i, 'Summary ' || i, '<p>Body ' || i || '</p>', 'published',
       strftime('%Y-%m-%d %H:%M:%f', 1700000000 + i * 7907 % 31536000 + i % 1000 / 1000.0,
                'unixepoch'),
       strftime('%Y-%m-%d %H:%M:%f', 'now')
FROM n
"""


def measure() -> dict[str, float]:
    """`start_1m_s`, `catalogue_mib_1m`, `idle_core_share` and `takedown_s`, the longest of ten."""
    with tempfile.TemporaryDirectory() as folder, start_site(Path(folder)) as site:
        empty_mib = memory_mib(site.add())
        site.recommenders[0].send(signal.SIGTERM)
        site.recommenders[0].wait()
        fill(site)
        began_s = time.monotonic()
        recommender = site.add(start_s=GIVE_UP_S)
        start_s = time.monotonic() - began_s
        mib = memory_mib(recommender) - empty_mib
        insert(site, ARTICLES + 1, ARTICLES + IMPORTED)
        wait_until(lambda: size(recommender) >= ARTICLES + IMPORTED, GIVE_UP_S, "the import")
        time.sleep(SETTLE_S)
        wait_until(lambda: core_share(recommender, 5.0) < AT_WORK, GIVE_UP_S, "the words")
        idle = core_share(recommender, IDLE_S)
        takedown_s = max(time_take_downs(site, recommender))
    return {
        "start_1m_s": start_s,
        "catalogue_mib_1m": mib,
        "idle_core_share": idle,
        "takedown_s": takedown_s,
    }


def fill(site: Site) -> None:
    """A million articles in a hundred channels, and one in a channel of its own."""
    with _writing(site) as db:
        channels = [(n, f"bulk-{n}", f"Bulk {n}") for n in (*range(2, CHANNELS + 2), LONELY)]
        db.executemany("INSERT INTO channel (id, slug, name) VALUES (?, ?, ?)", channels)
        authors = [(n, f"Bulk {n}") for n in range(1, 1001)]
        db.executemany("INSERT INTO author (id, name) VALUES (?, ?)", authors)
        (first,) = db.execute("SELECT max(id) + 1 FROM article").fetchone()
        # Row by row, the indexes take four times as long as the rows.
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'article' AND type = 'index' "
            "AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        db.execute(BULK, {"first": first, "last": ARTICLES, "channels": CHANNELS})
        db.execute("UPDATE article SET channel_id = ? WHERE id = ?", (LONELY, ARTICLES))
        for _, statement in indexes:
            db.execute(statement)


def insert(site: Site, first: int, last: int) -> None:
    """Import while the recommender runs, in one transaction."""
    with _writing(site) as db:
        db.execute(BULK, {"first": first, "last": last, "channels": CHANNELS})


@contextmanager
def _writing(site: Site) -> Iterator[sqlite3.Connection]:
    path = str(make_url(site.settings[f"{PREFIX}DATABASE_URL"]).database)
    with closing(sqlite3.connect(path, timeout=GIVE_UP_S)) as db, db:
        db.execute("PRAGMA synchronous=OFF")
        yield db


def memory_mib(recommender: Recommender) -> float:
    """What the one worker holds in memory of its own."""
    (worker,) = recommender.workers()
    return float(worker.memory_full_info().uss) / 2**20


def core_share(recommender: Recommender, seconds: float) -> float:
    """The share of a core that the one worker uses."""
    (worker,) = recommender.workers()
    began_s, before = time.monotonic(), worker.cpu_times()
    time.sleep(seconds)
    after = worker.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return float(used_s / (time.monotonic() - began_s))


def size(recommender: Recommender) -> float:
    """How many articles the catalogue has."""
    with urlopen(f"http://{recommender.metrics_bind}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return max(float(ln.split()[-1]) for ln in lines if ln.startswith("tidings_catalogue_articles"))


def time_take_downs(site: Site, recommender: Recommender) -> list[float]:
    """Seconds from a take-down to the first feed without the article, at moments of all kinds."""
    settings = read_settings(
        None,
        database_url=site.settings[f"{PREFIX}DATABASE_URL"],
        redis_url=site.settings[f"{PREFIX}REDIS_URL"],
    )
    engine, redis = make_engine(settings.database), make_redis(settings.redis)
    articles = Articles(engine, redis, card_ttl_s=300, clock=now_ms)
    readers = iter(range(2**52 + 1, 2**53))
    times = []
    with make_client(
        UserRecommend, (recommender.bind,), policy=Policy(timeout_ms=5000), caller="bench"
    ) as client:
        for number in range(TAKE_DOWNS):
            wait_until(lambda: shows(client, next(readers)), GIVE_UP_S, "the article in a feed")
            time.sleep(number * 0.07)
            _change(engine, articles, take_down)
            began_s = time.monotonic()
            wait_until(lambda: not shows(client, next(readers)), GIVE_UP_S, "a feed without it")
            times.append(time.monotonic() - began_s)
            _change(engine, articles, restore)
    redis.close()
    engine.dispose()
    return times


def _change(
    engine: Engine, articles: Articles, act: Callable[[Connection, int, Articles], object]
) -> None:
    with transaction(engine) as conn:
        act(conn, ARTICLES, articles)


def shows(client: Client, reader_id: int) -> bool:
    """Whether a reader who was never here is shown the article of the lonely channel."""
    answer = client.call("user_recommend", UserRequest(reader_id, LONELY, 10, 0))
    return [article.article_id for article in answer.recommends] == [ARTICLES]
