"""recall: where candidates come from. Each source proposes some hundred articles at most, and none
decides.

`latest` walks the channel from its newest article past what was seen, so in the end it reaches the
whole backlog: a feed falls short only when the channel is exhausted. `hot` is the jobs' popularity
ranking. `again` is asked only when nothing unseen is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from prometheus_client import Counter
from redis import Redis, RedisError

from services.recommender.candidate import Candidate, Question
from services.recommender.catalogue import Catalogue
from tidings.news.channels import is_every_channel
from tidings.reading import popularity
from tidings.reading.tracking import Source

LATEST_PER_WANTED = 3
LATEST_LEAST = 30
HOT_LIMIT = 200
HOT_TTL_S = 2.0
# Freshness halves in this time; what is a day old can still be new to a reader.
HALF_LIFE_MS = 12 * 3600 * 1000

log = structlog.get_logger(__name__)
FAILURES = Counter(
    "tidings_recall_failures_total", "Sources that could not propose anything", ["source"]
)

Recall = Callable[[Question], Iterable[Candidate]]


class Latest:
    """The newest unseen articles of the channel, scored by age."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __call__(self, question: Question) -> Iterable[Candidate]:
        limit = max(LATEST_PER_WANTED * question.wanted, LATEST_LEAST)
        unseen = self._catalogue.newest_first(
            question.channel_id, lambda id_: id_ not in question.seen, limit
        )
        for entry in unseen:
            freshness = 0.5 ** ((question.now_ms - entry.published_ms) / HALF_LIFE_MS)
            yield Candidate(entry, {Source.LATEST: freshness})


class Hot:
    """The channel's popularity ranking, scored by its share of the first one's. Read anew every two
    seconds."""

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
                yield Candidate(entry, {Source.HOT: score / best})

    def _read(self, channel_id: int) -> Sequence[tuple[int, float]]:
        # One thread reads, and the others wait for it: channels are few and the entry is shared.
        with self._lock:
            now_s = self._monotonic()
            read_at_s, ranking = self._rankings.get(channel_id, (-HOT_TTL_S, ()))
            if now_s - read_at_s >= HOT_TTL_S:
                try:
                    ranking = popularity.top(self._redis, channel_id, HOT_LIMIT)
                except RedisError as ex:
                    FAILURES.labels("hot").inc()
                    log.warning("popularity_not_read", channel_id=channel_id, error=repr(ex))
                self._rankings[channel_id] = (now_s, ranking)
            return ranking


def recall_again(catalogue: Catalogue, question: Question, seen: Sequence[int]) -> list[Candidate]:
    """The articles of the channel that were shown the longest ago.

    Args:
        seen: article ids, the longest ago first.
    """
    found = []
    for article_id in seen:
        entry = catalogue.get(article_id)
        in_channel = is_every_channel(question.channel_id) or (
            entry is not None and entry.channel_id == question.channel_id
        )
        if entry is not None and in_channel:
            found.append(Candidate(entry, {Source.AGAIN: 1.0}))
            if len(found) == question.wanted:
                break
    return found
