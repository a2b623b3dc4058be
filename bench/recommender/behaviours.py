"""How many behaviours a second one gateway worker takes in durably, with everything behind it at
work.

A site as `tidings up` runs it, with one gateway worker: Redis with its AOF, the daemon's fold, the
database. Browsers that keep their connections send reports of a hundred events: what a reader did
in ten batches (their exposures, and nine acts on the articles of each), signed before the clock
starts. An event counts when its report was answered with 202; the fold's own rate is told besides.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from tests.lab.sites import Site, start_site
from tidings.process.clock import now_ms
from tidings.process.settings import read_secret_keys
from tidings.reading.acts import Action
from tidings.reading.history import History
from tidings.reading.packed import Batch
from tidings.reading.tracking import Shown, Tracker
from tidings.store.keys import BEHAVIOUR_WAITING
from tidings.store.redis import make_redis

READERS, BATCHES, ARTICLES_A_BATCH, ACTS_A_BATCH = 1200, 10, 10, 9
EVENTS = BATCHES * (ACTS_A_BATCH + 1)
CONNECTIONS, WARM_UP, LONGEST_S = 6, 30, 15.0
FOLD_GIVE_UP_S = 120.0
ACTS = (
    *(Action.CLICK,) * 4,
    *(Action.READING,) * 3,
    Action.LIKING,
    Action.COLLECT,
)


@dataclass
class Sent:
    """What was acknowledged."""

    events: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def measure() -> dict[str, float]:
    """`behaviours_per_s`, acknowledged; `behaviours_folded_per_s`, in SQL."""
    with (
        tempfile.TemporaryDirectory() as folder,
        start_site(Path(folder), gateway_workers=1, behaviour_backlog=10_000_000) as site,
    ):
        site.wait_until_ready()
        redis = make_redis(site.settings.redis)
        bodies = make_bodies(site, redis)
        send(site, bodies[:WARM_UP], LONGEST_S)
        started = time.perf_counter()
        sent = send(site, bodies[WARM_UP:], LONGEST_S)
        accepted_s = time.perf_counter() - started
        wait_for_fold(redis)
        folded_s = time.perf_counter() - started
    if sent.refused:
        raise AssertionError(f"{sent.refused} reports were not accepted")
    return {
        "behaviours_per_s": sent.events / accepted_s,
        "behaviours_folded_per_s": sent.events / folded_s,
    }


def make_bodies(site: Site, redis: Redis) -> list[bytes]:
    """A report of each reader, whose batches are recorded as a recommender records them."""
    tracker = Tracker(read_secret_keys(site.settings.site))
    feed = site.reader().get("/articles?article_num=100").json
    articles = [card["article_id"] for card in feed["results"]]
    history = History(
        redis, batches_kept=100, seen_kept=1000, ttl_s=3600, channels=lambda: range(0)
    )
    return [make_body(tracker, history, 2**52 + number, articles) for number in range(READERS)]


def make_body(tracker: Tracker, history: History, reader_id: int, articles: Sequence[int]) -> bytes:
    """What one reader did in ten batches."""
    now, tokens = now_ms(), []
    for number in range(BATCHES):
        first = (reader_id + number) * ARTICLES_A_BATCH % len(articles)
        ids = [*islice([*articles[first:], *articles], ARTICLES_A_BATCH)]
        batch = Batch(0, now, array("q", ids), bytes([1]) * len(ids))
        recorded = history.record(reader_id, batch, history.read(reader_id))
        assert recorded is not None
        whole = Shown(Action.EXPOSURE, reader_id, 0, stamp_ms=recorded.stamp_ms)
        tokens.append(tracker.issue(whole, now))
        for position, action in enumerate(ACTS):
            shown = replace(
                whole, action=action, article_id=ids[position], position=position, source=1
            )
            tokens.append(tracker.issue(shown, now))
    return json.dumps({"events": [{"track": token, "at": now} for token in tokens]}).encode()


def send(site: Site, bodies: Sequence[bytes], longest_s: float) -> Sent:
    """Send each once, over connections that are kept, for at most so long."""
    rest, sent = iter(bodies), Sent()
    give_up_at = time.perf_counter() + longest_s

    def browse() -> None:
        connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=30)
        while time.perf_counter() < give_up_at:
            with sent.lock:
                body = next(rest, None)
            if body is None:
                break
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/behaviors", body, headers)
            answer = connection.getresponse()
            verdicts = answer.read().count(b"accepted")
            with sent.lock:
                sent.events += verdicts
                sent.refused += answer.status != 202 or verdicts != EVENTS
        connection.close()

    threads = [threading.Thread(target=browse) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def wait_for_fold(redis: Redis) -> None:
    """Until SQL has all of it."""
    give_up_at = time.perf_counter() + FOLD_GIVE_UP_S
    while int(redis.get(BEHAVIOUR_WAITING.of()) or 0):
        if time.perf_counter() > give_up_at:
            raise TimeoutError(f"the fold was not through after {FOLD_GIVE_UP_S:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    print(measure())
