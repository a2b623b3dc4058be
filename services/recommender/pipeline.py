"""Joins the steps of the pipeline: `recall → filter → rank → mix → record`, or a page of history.

Nothing here knows Thrift or the wire, so a feed can be made in a test, a benchmark or a command
line.

    pipeline.recommend(reader_id, channel_id=10, wanted=10, at_ms=0).articles
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter

from services.recommender.catalogue import Catalogue
from services.recommender.choosing import STEP_SECONDS, Chooser
from services.recommender.moments import Page, page_asked_for
from services.recommender.question import Question
from services.recommender.turns import ReaderBusyError, Turns
from tidings.news.channels import ChannelNotFoundError
from tidings.process.clock import Clock
from tidings.process.deadline import current_deadline
from tidings.reading.history import History
from tidings.reading.reader_state import Batch, ReaderState

# Calls of one reader in this process take turns, so that only other processes can come first.
RECORD_ATTEMPTS = 8
LONGEST_JITTER_S = 0.004
# As many windows as a person may open at once, with all of their retries, are all served.
MOST_OF_ONE_READER = 16

FEEDS = Counter("tidings_feeds_total", "Feeds served", ["kind"])
SHOWN = Counter("tidings_articles_shown_total", "Articles of fresh batches by source", ["source"])
CONFLICTS = Counter(
    "tidings_record_conflicts_total", "Batches chosen again because another process came first"
)
GONE = Counter(
    "tidings_articles_gone_total", "Articles taken down between being chosen and recorded"
)


@dataclass(frozen=True, slots=True)
class Placed:
    """An article in its place of the batch, 0 being the top, and the number of its source.

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
        chooser: makes fresh batches.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self, catalogue: Catalogue, history: History, chooser: Chooser, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._history = history
        self._chooser = chooser
        self._clock = clock
        self._turns = Turns(MOST_OF_ONE_READER)

    def recommend(self, reader_id: int, channel_id: int, wanted: int, at_ms: int) -> Feed:
        """A fresh feed, or the page of history that `at_ms` asks for; see `page_asked_for`.

        Raises:
            ChannelNotFoundError: there is no such channel.
            ReaderBusyError: too many calls for this reader at once.
            RedisError: the reader's state could not be read or recorded.
        """
        if not self._catalogue.has_channel(channel_id):
            raise ChannelNotFoundError(channel_id)
        with self._turns.of(reader_id):
            for attempt in range(RECORD_ATTEMPTS):
                if attempt:
                    _wait_a_moment(attempt)
                now_ms = self._clock()
                with _step("read"):
                    state = self._history.read(reader_id)
                page = page_asked_for(state, channel_id, at_ms, now_ms)
                if page is not None:
                    return self._page_of_history(page)
                feed = self._make_fresh(reader_id, channel_id, wanted, now_ms=now_ms, state=state)
                if feed is not None:
                    return feed
                CONFLICTS.inc()
        raise ReaderBusyError

    def _make_fresh(
        self, reader_id: int, channel_id: int, wanted: int, *, now_ms: int, state: ReaderState
    ) -> Feed | None:
        """A batch that is recorded, or none where the channel has nothing to show; None if another
        process recorded first."""
        before_ms = state.newest_ms(channel_id)
        chosen = self._chooser.choose(Question(reader_id, channel_id, wanted, now_ms, state))
        ids, sources = array("q"), bytearray()
        for article_id, source in zip(chosen.ids.tolist(), chosen.sources.tolist(), strict=True):
            # What was taken down while it was chosen is not recorded.
            if self._catalogue.get(article_id) is not None:
                ids.append(article_id)
                sources.append(source)
        GONE.inc(len(chosen.ids) - len(ids))
        if not ids:
            return Feed(0, before_ms, (), fresh=True)
        with _step("record"):
            batch = self._history.record(
                reader_id, Batch(channel_id, now_ms, ids, bytes(sources)), state
            )
        if batch is None:
            return None
        FEEDS.labels("fresh").inc()
        for number in sources:
            SHOWN.labels(self._chooser.source(number).name).inc()
        return Feed(batch.stamp_ms, before_ms, _places(batch), fresh=True)

    def _page_of_history(self, page: Page) -> Feed:
        FEEDS.labels("history").inc()
        batch, before_ms = page
        if batch is None:
            return Feed(0, 0, (), fresh=False)
        visible = [
            placed
            for placed in _places(batch)
            if self._catalogue.get(placed.article_id) is not None
        ]
        return Feed(batch.stamp_ms, before_ms, visible, fresh=False)


def _places(batch: Batch) -> list[Placed]:
    return [
        Placed(place, article_id, source)
        for place, (article_id, source) in enumerate(
            zip(batch.article_ids, batch.sources, strict=True)
        )
    ]


def _wait_a_moment(attempt: int) -> None:
    """Before another attempt: two processes that met once should not meet again.

    Raises:
        DeadlineExceededError: the caller waits no more.
    """
    deadline = current_deadline()
    if deadline is not None:
        deadline.check()
    time.sleep(random.uniform(0, LONGEST_JITTER_S * attempt))  # noqa: S311 - no secret


@contextmanager
def _step(name: str) -> Iterator[None]:
    started_s = time.perf_counter()
    try:
        yield
    finally:
        STEP_SECONDS.labels(name).observe(time.perf_counter() - started_s)
