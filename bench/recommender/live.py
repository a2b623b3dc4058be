"""How soon the clicks of some readers change what the others are shown, on a site as `tidings up`
runs it.

Readers who are not there otherwise click on an article that no feed has at its head, and a new
reader asks again and again until a feed has it. The time is the whole way: the gateway's door, the
log, the worker's signals, the list of what is hot, the feed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.lab.sites import Site, start_site
from tidings.process.clock import now_ms
from tidings.process.settings import read_secret_keys
from tidings.reading.acts import Action
from tidings.reading.tracking import Shown, Tracker

ROUNDS, BURST, PER_REPORT = 5, 200, 100
GIVE_UP_S = 60.0


def measure() -> dict[str, float]:
    """`burst_to_feed_s`: the median of five bursts, in seconds; and the longest of them."""
    with tempfile.TemporaryDirectory() as folder, start_site(Path(folder)) as site:
        site.wait_until_ready()
        times = [measure_burst(site, number) for number in range(ROUNDS)]
    return {"burst_to_feed_s": statistics.median(times), "burst_to_feed_worst_s": max(times)}


def measure_burst(site: Site, number: int) -> float:
    """Seconds from the last acknowledged click to the first feed that has the article."""
    pages = site.reader()
    shown = [pages.get("/articles?article_num=20").json["results"] for _ in range(3)]
    article_id = shown[-1][-1]["article_id"]
    click(site, article_id, first_reader=2**52 + 10_000 * (number + 1))
    started = time.perf_counter()
    while time.perf_counter() - started < GIVE_UP_S:
        feed = site.reader().get("/articles?article_num=10").json["results"]
        if any(card["article_id"] == article_id for card in feed):
            return time.perf_counter() - started
        time.sleep(0.05)
    raise TimeoutError(f"no feed had article {article_id} within {GIVE_UP_S:.0f} s")


def click(site: Site, article_id: int, *, first_reader: int) -> None:
    """A click on the article by each of `BURST` readers, acknowledged by the gateway."""
    tracker = Tracker(read_secret_keys(site.settings.site))
    now = now_ms()
    tokens = [
        tracker.issue(
            Shown(Action.CLICK, first_reader + n, 0, stamp_ms=now, article_id=article_id), now
        )
        for n in range(BURST)
    ]
    for start in range(0, BURST, PER_REPORT):
        events = [{"track": token} for token in tokens[start : start + PER_REPORT]]
        answer = site.reader().send("POST", "/behaviors", {"events": events})
        if answer.status != 202:
            raise RuntimeError(f"the gateway answered {answer.status}: {answer.body[:200]!r}")
