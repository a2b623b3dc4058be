"""What one `user_recommend` takes in the handler of a worker that knows a million articles, a
hundred thousand of which are clicked just now.

The handler, the pipeline, a Redis beside it and everything in between are the real ones; only the
socket is left out, which `make bench-rpc` measures, and the database, which a feed does not ask.
Readers have two clicks of a session behind them. One thread asks, on one core, and that Redis is
held to the same core: what Redis does for a request counts, and none of it is done beside. A small
site of ten thousand articles takes turns with the large one, so that what else the machine does
slows both.

    python -m bench.recommender handler
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from redis import Redis
from sqlalchemy import create_engine

from services.recommender.catalogue import Catalogue, View, make_view
from services.recommender.handler import RecommendHandler
from services.recommender.parts import make_chooser
from services.recommender.pipeline import Pipeline
from services.recommender.signals.folding import Click, Signals
from tests.lab.servers import start_redis
from tidings.process.clock import now_ms
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours
from tidings.reading.history import History
from tidings.reading.noting import ReaderNotes
from tidings.reading.older_pages import OlderPages
from tidings.reading.reader_state import Acted
from tidings.reading.tracking import Tracker
from tidings_idl.recommend.ttypes import UserRequest

SMALL, LARGE = 10_000, 1_000_000
ACTIVE_SHARE = 10
CHANNELS = 40
CLICKS_PER_ACTIVE = 4
READERS, ROUNDS, WARM_UP = 100, 12, 50
DAY_S = 24 * 3600


class Still(Catalogue):
    """A catalogue that does not change."""

    def __init__(self, view: View) -> None:
        self._still = view

    def view(self) -> View:
        return self._still

    def has_channel(self, channel_id: int) -> bool:
        return channel_id <= CHANNELS

    def channel_ids(self) -> list[int]:
        return list(range(CHANNELS + 1))


class Worker:
    """A handler over so many articles, and the readers who ask it."""

    def __init__(self, redis: Redis, articles: int) -> None:
        rng = np.random.default_rng(articles)
        self._redis = redis
        now = now_ms()
        ids = np.arange(1, articles + 1)
        ages = rng.integers(0, 365 * DAY_S * 1000, articles)
        catalogue = Still(
            make_view(
                ids,
                1 + rng.integers(0, CHANNELS, articles),
                rng.integers(0, 1000, articles),
                now - ages,
            )
        )
        active = rng.choice(ids, articles // ACTIVE_SHARE, replace=False)
        # Readers' attention: the article of rank r is clicked as 1/r^.8.
        weights = np.arange(1, len(active) + 1) ** -0.8
        number = len(active) * CLICKS_PER_ACTIVE
        most_read = rng.choice(active, number, p=weights / weights.sum())
        self._clicked = np.concatenate([active, most_read])
        rng.shuffle(self._clicked)
        signals = Signals()
        moments = now // 1000 - np.sort(rng.exponential(3600, len(self._clicked)).astype(int))[::-1]
        clicks = zip(self._clicked.tolist(), moments.tolist(), strict=True)
        signals.fold(
            (
                # Three clicks a session.
                Click(place // 3, article_id, at_s, 0x12 + (place // 3 % 2), undone=False)
                for place, (article_id, at_s) in enumerate(clicks)
            ),
            now / 1000,
        )
        tracker = Tracker([b"k" * 32])
        self._notes = ReaderNotes(DAY_S)
        history = History(
            redis, batches_kept=100, seen_kept=2000, ttl_s=DAY_S, channels=catalogue.channel_ids
        )
        pipeline = Pipeline(
            catalogue,
            history,
            make_chooser(signals, catalogue.view),
            # No reader here walks back so far that it is asked.
            older=OlderPages(create_engine("sqlite://")),
            clock=now_ms,
        )
        behaviours = Behaviours(redis, tracker, self._notes, backlog_limit=10**6, clock=now_ms)
        self._handler = RecommendHandler(pipeline, behaviours, tracker, now_ms)
        self._next_reader = articles * 10

    def ask(self, number: int) -> list[float]:
        """How long each of so many readers waits for a page, in ms; each has clicked two of the
        site's most read articles."""
        took_ms = []
        for _ in range(number):
            self._next_reader += 1
            reader_id = self._next_reader
            self._click(reader_id, self._clicked[reader_id % 9973 :: 31013][:2].tolist())
            request = UserRequest(user_id=reader_id, channel_id=0, article_num=10, time_stamp=0)
            began_s = time.perf_counter()
            self._handler.user_recommend(request)
            took_ms.append((time.perf_counter() - began_s) * 1000)
        return took_ms

    def _click(self, reader_id: int, article_ids: Sequence[int]) -> None:
        at_ms = now_ms() - 1000
        acts = [Acted(Action.CLICK, article_id, at_ms, at_ms) for article_id in article_ids]
        with self._redis.pipeline(transaction=False) as pipe:
            self._notes.note_acts(pipe, reader_id, acts)
            pipe.execute()


def measure() -> dict[str, float]:
    """`handler_p50_ms`, `handler_p99_ms` and `growth_p50_10k_to_1m`."""
    with ExitStack() as stack:
        redis = stack.enter_context(Redis.from_url(stack.enter_context(start_redis()).url))
        cores = os.sched_getaffinity(0)
        stack.callback(os.sched_setaffinity, 0, cores)
        for process in (0, redis.info("server")["process_id"]):
            os.sched_setaffinity(process, {min(cores)})
        small, large = Worker(redis, SMALL), Worker(redis, LARGE)
        for worker in (small, large):
            worker.ask(WARM_UP)
        of_small: list[float] = []
        of_large: list[float] = []
        for _ in range(ROUNDS):
            of_small += small.ask(READERS)
            of_large += large.ask(READERS)
    p50_ms = statistics.median(of_large)
    return {
        "handler_p50_ms": p50_ms,
        "handler_p99_ms": statistics.quantiles(of_large, n=100)[98],
        "growth_p50_10k_to_1m": p50_ms / statistics.median(of_small),
    }
