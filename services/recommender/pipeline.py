"""Joins the steps of the pipeline: `recall → filter → rank → mix → record`, or a page of history.

Nothing here knows Thrift or the wire, so a feed can be made in a test, a benchmark or a command
line.

    pipeline.recommend(reader_id, channel_id=10, wanted=10, at_ms=0).articles
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from prometheus_client import Counter, Histogram

from services.recommender.candidate import Candidate, Question, Recall
from services.recommender.catalogue import Catalogue
from services.recommender.filter import filter_candidates
from services.recommender.mix import mix
from services.recommender.rank import rank
from services.recommender.sources.again import recall_again
from tidings.news.channels import ChannelNotFoundError
from tidings.process.clock import Clock
from tidings.process.deadline import current_deadline
from tidings.reading.history import History, ReaderState

RECORD_ATTEMPTS = 50
CLOCK_SLACK_MS = 60_000

STEP_SECONDS = Histogram(
    "tidings_pipeline_step_seconds",
    "Time of one step of one feed",
    ["step"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5),
)
FEEDS = Counter("tidings_feeds_total", "Feeds served", ["kind"])
SHOWN = Counter("tidings_articles_shown_total", "Articles of fresh batches by source", ["source"])
CONFLICTS = Counter(
    "tidings_record_conflicts_total", "Batches chosen again because another call came first"
)


class ReaderBusyError(Exception):
    """So many calls for one reader at once that this one could not record its batch; it may be
    tried again."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An article in its place of the batch, 0 being the top; `source` is its source's number, 0 in
    history, which does not know.

    The place is the one recorded: an article that has gone from the page must not move those below
    it, or the tokens of the same click would name two events.
    """

    position: int
    article_id: int
    source: int


@dataclass(frozen=True, slots=True)
class Feed:
    """One page for one reader.

    Attributes:
        stamp_ms: of the batch; 0 when there is none.
        before_ms: stamp of the batch before it, 0 if there is none.
        articles: in the order to show them.
        fresh: whether the batch was made just now.
    """

    stamp_ms: int
    before_ms: int
    articles: Sequence[Placed]
    fresh: bool


class Pipeline:
    """Serves feeds, from any number of threads.

    Args:
        catalogue: what may be shown.
        history: what was shown to whom.
        sources: where candidates come from.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self, catalogue: Catalogue, history: History, sources: Sequence[Recall], clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._history = history
        self._sources = sources
        self._clock = clock

    def recommend(self, reader_id: int, channel_id: int, wanted: int, at_ms: int) -> Feed:
        """A fresh feed, or the page of history that was newest at `at_ms`; see `asks_for_fresh`.

        Raises:
            ChannelNotFoundError: there is no such channel.
            ReaderBusyError: too many calls for this reader at once.
            RedisError: the reader's state could not be read or recorded.
        """
        if not self._catalogue.has_channel(channel_id):
            raise ChannelNotFoundError(channel_id)
        for _ in range(RECORD_ATTEMPTS):
            now_ms = self._clock()
            with _step("read"):
                state = self._history.read(reader_id, channel_id, at_ms or now_ms)
            if not asks_for_fresh(at_ms, now_ms, state):
                return self._page_of_history(state)
            question = Question(channel_id, wanted, now_ms, seen=frozenset(state.seen))
            chosen = self._choose(question, state.seen)
            if not chosen:
                return Feed(0, state.newest_ms, (), fresh=True)
            with _step("record"):
                ids = [candidate.entry.article_id for candidate in chosen]
                stamp_ms = self._history.record(
                    reader_id, channel_id, ids, version=state.version, now_ms=now_ms
                )
            if stamp_ms is not None:
                return _fresh_feed(stamp_ms, state.newest_ms, chosen)
            CONFLICTS.inc()
            deadline = current_deadline()
            if deadline is not None:
                deadline.check()
        raise ReaderBusyError("too many requests for this reader at once; try again")

    def _choose(self, question: Question, seen: Sequence[int]) -> list[Candidate]:
        with _step("recall"):
            proposed = list(chain.from_iterable(source(question) for source in self._sources))
        with _step("filter"):
            kept = filter_candidates(proposed, question, self._catalogue)
        if not kept:
            return recall_again(self._catalogue, question, seen)
        with _step("rank"):
            ranked = rank(kept.values())
        with _step("mix"):
            return mix(ranked, question.wanted)

    def _page_of_history(self, state: ReaderState) -> Feed:
        FEEDS.labels("history").inc()
        if state.page is None:
            return Feed(0, 0, (), fresh=False)
        placed = (Placed(place, id_, source=0) for place, id_ in enumerate(state.page.article_ids))
        visible = [
            article for article in placed if self._catalogue.get(article.article_id) is not None
        ]
        return Feed(state.page.stamp_ms, state.page_before_ms, visible, fresh=False)


def asks_for_fresh(at_ms: int, now_ms: int, state: ReaderState) -> bool:
    """Whether a request stamped `at_ms` wants a new batch: it is 0, or later than the newest batch.

    A server whose clock was set back finds newest batches in its future. A reader who says "now"
    must not be shown history until that future has come, so there only the exact stamp of a batch
    asks for it.
    """
    if at_ms == 0 or at_ms > state.newest_ms:
        return True
    is_a_stamp = state.page is not None and state.page.stamp_ms == at_ms
    return state.newest_ms > now_ms and at_ms >= now_ms - CLOCK_SLACK_MS and not is_a_stamp


def _fresh_feed(stamp_ms: int, before_ms: int, chosen: Sequence[Candidate]) -> Feed:
    FEEDS.labels("fresh").inc()
    for candidate in chosen:
        SHOWN.labels(candidate.source.name).inc()
    placed = [Placed(place, c.entry.article_id, c.source.number) for place, c in enumerate(chosen)]
    return Feed(stamp_ms, before_ms, placed, fresh=True)


@contextmanager
def _step(name: str) -> Iterator[None]:
    started_s = time.perf_counter()
    try:
        yield
    finally:
        STEP_SECONDS.labels(name).observe(time.perf_counter() - started_s)
