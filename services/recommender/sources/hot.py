"""hot: what is read a lot just now, from the ranking that the jobs keep in Redis.

An article is scored by its share of the first one's popularity. One reading of a channel's ranking
serves all requests of two seconds, and the last known one serves on while Redis is away. Rejected:
a reading a request, for a ranking that is made anew once a minute.

    list(Hot(redis, catalogue)(question))  # the most popular first
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from prometheus_client import Counter
from redis import Redis, RedisError

from services.recommender.candidate import Candidate, Question, Source
from services.recommender.catalogue import Catalogue
from tidings.reading import popularity

HOT = Source(number=2, name="hot", weight=0.6)
HOT_LIMIT = 200
HOT_TTL_S = 2.0

log = structlog.get_logger(__name__)
FAILURES = Counter(
    "tidings_recall_failures_total", "Sources that could not propose anything", ["source"]
)


class Hot:
    """Proposes the channel's ranking, without what only fills it up."""

    source = HOT

    def __init__(
        self, redis: Redis, catalogue: Catalogue, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._catalogue = catalogue
        self._monotonic = monotonic
        self._rankings: dict[int, tuple[float, Sequence[tuple[int, float]]]] = {}
        self._lock = threading.Lock()

    def __call__(self, question: Question) -> Iterable[Candidate]:
        ranking = self._read(question.channel_id)
        best = max((score for _, score in ranking), default=0.0)
        if best <= 0:
            return
        for article_id, score in ranking:
            entry = self._catalogue.get(article_id)
            if entry is not None and score > 0:
                yield Candidate(entry, {HOT: score / best})

    def _read(self, channel_id: int) -> Sequence[tuple[int, float]]:
        # One thread reads, and the others wait for it: channels are few and the entry is shared.
        with self._lock:
            now_s = self._monotonic()
            read_at_s, ranking = self._rankings.get(channel_id, (-HOT_TTL_S, ()))
            if now_s - read_at_s >= HOT_TTL_S:
                try:
                    ranking = popularity.top(self._redis, channel_id, HOT_LIMIT)
                except RedisError as ex:
                    FAILURES.labels(HOT.name).inc()
                    log.warning("popularity_not_read", channel_id=channel_id, error=repr(ex))
                self._rankings[channel_id] = (now_s, ranking)
            return ranking
