"""A worker's signals follow the log: warm when it is ready, seconds behind at most, and the same in
every worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from sqlalchemy import Engine
from structlog.testing import capture_logs

from services.recommender import tailing
from services.recommender.signals.counters import Kind
from services.recommender.signals.folding import Signals
from services.recommender.signals.walk import Window
from services.recommender.tailing import WARM_UP_MS, Tail
from tests.lab.newsroom import HOUR_MS, MINUTE_MS, Clock, Newsroom
from tests.lab.servers import wait_until
from tidings.reading.acts import Action
from tidings.reading.behaviour import fold
from tidings.reading.behaviour_log import LOG, BehaviourLog, read_log
from tidings.reading.events import Event


class Site:
    """Readers who click, a daemon that stores it, and workers that follow."""

    def __init__(self, redis: Redis, engine: Engine, clock: Clock, articles: Sequence[int]) -> None:
        self.redis, self.engine, self.clock, self.articles = redis, engine, clock, articles
        self.log = BehaviourLog(redis, backlog_limit=10**6)

    def click(self, reader_id: int, *places: int, ago_ms: int = 0, undone: bool = False) -> None:
        """These articles, by their place in `articles`, one after another."""
        now_ms = self.clock()
        self.log.append(
            [
                Event(
                    action=Action.CLICK,
                    reader_id=reader_id,
                    channel_id=0,
                    stamp_ms=now_ms - ago_ms - MINUTE_MS,
                    article_id=self.articles[place],
                    position=place,
                    at_ms=now_ms - ago_ms + number,
                    undone=undone,
                )
                for number, place in enumerate(places)
            ]
        )

    def store(self) -> None:
        """Move what waits into SQL, as the daemon does."""
        while fold(self.engine, self.redis, consumer="tests"):
            pass

    def worker(self) -> tuple[Signals, Tail]:
        """A new one, that has not caught up yet."""
        signals = Signals(sessions=256)
        return signals, Tail(self.redis, self.engine, signals, self.clock)

    def warm(self) -> tuple[Signals, Tail]:
        signals, tail = self.worker()
        tail.catch_up(self.clock() - WARM_UP_MS)
        return signals, tail

    def told(self, signals: Signals) -> dict[int, tuple[float, ...]]:
        """What those signals say of each article: its counts, and what follows the first one."""
        with signals.lock:
            return self._told(signals)

    def _told(self, signals: Signals) -> dict[int, tuple[float, ...]]:
        slots, ids = signals.active()
        now_s = self.clock() / 1000
        walk = signals.walk([self.articles[0]], [], context=0, now_s=now_s)
        following = walk.at(slots, [walk.sums(Window.H1), walk.neighbours()])
        counts = [
            signals.counters.of(kind)[slots] * signals.counters.scale(kind, now_s) for kind in Kind
        ]
        return {
            id_: (*(float(count[place]) for count in counts), *following[place].tolist())
            for place, id_ in enumerate(ids.tolist())
        }

    def clicked(self, signals: Signals) -> dict[int, float]:
        """Place in `articles` → clicks, hardly forgotten."""
        told = self.told(signals)
        return {
            place: round(told[id_][Kind.ALL_3H], 2)
            for place, id_ in enumerate(self.articles)
            if id_ in told
        }


@pytest.fixture
def site(redis: Redis, engine: Engine, clock: Clock, newsroom: Newsroom) -> Site:
    redis.flushall()
    return Site(redis, engine, clock, newsroom.articles(6))


@contextmanager
def following(tail: Tail) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=tail.follow, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def test_a_new_worker_knows_what_sql_and_the_log_have_and_counts_it_once(site: Site) -> None:
    """Some is stored and gone from the log, some is in both, some waits for the daemon."""
    site.click(1, 0, 1)
    site.store()
    site.redis.xtrim(LOG, maxlen=0)
    site.click(2, 0, 2)
    site.store()
    site.click(3, 0, 3)
    signals, tail = site.warm()

    assert site.clicked(signals) == {0: 3.0, 1: 1.0, 2: 1.0, 3: 1.0}
    assert tail.is_fresh()


def test_a_worker_that_started_again_agrees_with_one_that_did_not(site: Site) -> None:
    """Stored behind one worker's back, taken back by readers, some of it hours old."""
    old, tail = site.warm()
    with following(tail):
        for reader in range(20):
            site.click(reader, 0, 1 + reader % 5, ago_ms=reader * 10 * MINUTE_MS)
        site.click(3, 4, undone=True)
        site.store()
        for reader in range(20, 30):
            site.click(reader, 1, 0, 2)
        wait_until(lambda: site.clicked(old).get(2, 0) > 10, 10, "the clicks are counted")
    new, _ = site.warm()
    mine, theirs = site.told(old), site.told(new)

    assert mine.keys() == theirs.keys()
    for article_id, values in mine.items():
        assert values == pytest.approx(theirs[article_id], rel=1e-6, abs=1e-9)


def test_a_click_is_in_the_signals_of_every_worker_within_seconds(site: Site) -> None:
    """No worker waits for the daemon, or for the others."""
    workers = [site.warm() for _ in range(2)]
    with following(workers[0][1]), following(workers[1][1]):
        site.click(1, 0, 5)
        wait_until(
            lambda: all(5 in site.clicked(signals) for signals, _ in workers),
            10,
            "both workers counted the click",
        )


def test_a_day_is_all_that_a_new_worker_reads(site: Site) -> None:
    """What is older is forgotten in a running worker too."""
    site.click(1, 0, ago_ms=25 * HOUR_MS)
    site.click(2, 1, ago_ms=23 * HOUR_MS)
    site.store()
    site.redis.xtrim(LOG, maxlen=0)

    assert site.clicked(site.warm()[0]).keys() == {1}


def test_a_worker_is_not_ready_before_it_has_read_the_log_and_tries_on(site: Site) -> None:
    """Redis is away when it starts, and comes back."""
    signals, tail = site.worker()
    site.click(1, 0)
    away = RedisConnectionError("Redis is away")
    tried = threading.Event()

    def fail(*_: object) -> None:
        tried.set()
        raise away

    with (
        mock.patch.object(tailing, "AGAIN_AFTER_S", 0.01),
        mock.patch.object(tailing, "read_log", side_effect=fail) as reading,
        following(tail),
    ):
        assert tried.wait(60)
        assert not tail.is_fresh()
        reading.side_effect = read_log
        wait_until(tail.is_fresh, 10, "the worker is warm")

    assert site.clicked(signals) == {0: 1.0}


def test_a_worker_that_was_cut_off_for_long_asks_sql_for_what_the_log_dropped(site: Site) -> None:
    """Eleven minutes in which entries came, were stored, and were trimmed."""
    signals, tail = site.warm()
    site.click(1, 0, 1)
    site.store()
    site.redis.xtrim(LOG, maxlen=0)
    assert tail._followed_s is not None
    tail._followed_s -= 11 * 60
    with following(tail):
        wait_until(lambda: 1 in site.clicked(signals), 10, "the clicks are counted")
        site.click(2, 2)
        wait_until(lambda: 2 in site.clicked(signals), 10, "the clicks are counted")

    assert site.clicked(signals) == {0: 1.0, 1: 1.0, 2: 1.0}


def test_a_log_that_begins_anew_by_an_earlier_clock_is_followed(site: Site) -> None:
    """Redis was emptied and its clock set back: new entries have lower ids than what was read."""
    site.click(1, 0)
    signals, tail = site.warm()
    site.redis.flushall()
    site.click(2, 1)
    written: Any = site.redis.xrange(LOG)
    site.redis.delete(LOG)
    site.redis.xadd(LOG, written[0][1], id="1000-0")
    with following(tail):
        wait_until(lambda: site.clicked(signals) == {0: 1.0, 1: 1.0}, 10, "the click is known")


def test_an_entry_that_cannot_be_read_stops_nothing(site: Site) -> None:
    """Nor does an act that is no click."""
    signals, tail = site.warm()
    site.redis.xadd(LOG, {b"n": b"1", b"e": b"\xc1"})
    with following(tail):
        site.click(1, 3)
        wait_until(lambda: 3 in site.clicked(signals), 10, "the clicks are counted")


def test_a_worker_whose_clock_is_behind_counts_what_it_leaves_out_and_says_so_once(
    site: Site,
) -> None:
    """The others' clicks are in its future; its own are not."""
    signals, tail = site.warm()
    counted = tailing.AHEAD._value.get()
    site.click(1, 0, 1, ago_ms=-6 * MINUTE_MS)
    site.click(2, 2)
    site.click(3, 0, ago_ms=-7 * MINUTE_MS)
    with capture_logs() as logs, following(tail):
        wait_until(lambda: 2 in site.clicked(signals), 10, "its own click is counted")
        site.click(4, 3, ago_ms=-8 * MINUTE_MS)
        wait_until(lambda: tailing.AHEAD._value.get() == counted + 4, 10, "all are counted")
    assert site.clicked(signals).keys() == {2}
    assert [log["event"] for log in logs] == ["clicks_ahead_of_clock"]


def test_a_clock_that_was_far_ahead_and_is_set_right_does_not_spoil_the_signals(
    site: Site,
) -> None:
    """What was clicked a year ahead would make everything else a year old."""
    site.click(1, 0, 1)
    signals, tail = site.warm()
    site.clock.advance(365 * 24 * HOUR_MS)
    site.click(2, 3)
    with following(tail):
        wait_until(lambda: 3 in site.clicked(signals), 10, "the click of next year is counted")
        site.clock.advance(-365 * 24 * HOUR_MS)
        site.click(4, 0, 2)
        expected = {0: 2.0, 1: 1.0, 2: 1.0}
        wait_until(lambda: site.clicked(signals) == expected, 10, "the clicks of today, as such")
    assert site.told(signals) == site.told(site.warm()[0])
