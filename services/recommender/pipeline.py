"""Joins the steps of the pipeline: `recall → filter → rank → mix → record`, or a page of history.

Nothing here knows Thrift or the wire, so a feed can be made in a test, a benchmark or a command
line.

    pipeline.recommend(Ask(reader_id, channel_id=10, wanted=10)).articles
"""

from __future__ import annotations

import random
import time
from array import array
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from services.recommender.catalogue import NO_ROW, Catalogue
from services.recommender.choosing import Chooser, Chosen, Step
from services.recommender.moments import Page, page_asked_for
from services.recommender.question import NO_IDS, Question
from services.recommender.reasons import Reason, reason_for
from services.recommender.similar import find_similar
from services.recommender.trace import Trace
from services.recommender.turns import ReaderBusyError, Turns
from tidings.news.channels import ChannelNotFoundError
from tidings.process.clock import Clock
from tidings.process.deadline import current_deadline
from tidings.reading.contexts import NO_CONTEXT, Context
from tidings.reading.history import History
from tidings.reading.older_pages import OlderPages
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
_feeds = cache(FEEDS.labels)
_shown = cache(SHOWN.labels)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for which page.

    Attributes:
        reader_id: above 0.
        channel_id: 0 is every channel.
        wanted: how many articles.
        at_ms: the moment asked for; 0 is now.
        context: how the reader came.
        exclude: ids of articles not to choose.
        first_visit: the reader's id was made up for this request.
    """

    reader_id: int
    channel_id: int
    wanted: int
    at_ms: int = 0
    context: Context = NO_CONTEXT
    exclude: Sequence[int] = ()
    first_visit: bool = False


class Placed(NamedTuple):
    """An article in its place of the batch, 0 being the top, the number of its source, and why it
    is there, if that can be said.

    The place is the one recorded: an article that has gone from the page must not move those below
    it, or the tokens of the same click would name two events.
    """

    position: int
    article_id: int
    source: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Feed:
    """One page for one reader.

    Attributes:
        stamp_ms: of the batch; 0 when there is none.
        before_ms: stamp of the batch before it, 0 if there is none.
        articles: in the order to show them.
        fresh: whether the batch was made just now.
        variant: of the ranking that chose it.
        context: how the reader had come, as one byte.
    """

    stamp_ms: int
    before_ms: int
    articles: Sequence[Placed]
    fresh: bool
    variant: int = 0
    context: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be shown now, and the story of how it came about."""

    chosen: Chosen
    trace: Trace


class Pipeline:
    """Serves feeds, from any number of threads.

    Args:
        catalogue: what may be shown.
        history: what was shown to whom.
        chooser: makes fresh batches.
        older: what was shown before what the history keeps.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        history: History,
        chooser: Chooser,
        *,
        older: OlderPages,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._history = history
        self._chooser = chooser
        self._older = older
        self._clock = clock
        self._turns = Turns(MOST_OF_ONE_READER)

    def recommend(self, ask: Ask) -> Feed:
        """A fresh feed, or the page of history that `at_ms` asks for; see `page_asked_for`.

        Raises:
            ChannelNotFoundError: there is no such channel.
            ReaderBusyError: too many calls for this reader at once.
            RedisError: the reader's state could not be read or recorded.
        """
        self._check_channel(ask)
        with self._turns.of(ask.reader_id):
            for attempt in range(RECORD_ATTEMPTS):
                if attempt:
                    _wait_a_moment(attempt)
                # Of an id that was made up just now nothing is known, so nothing is read; if the
                # caller errs, recording finds it out.
                is_known = not ask.first_visit or attempt > 0
                question = self._question(ask, self._read(ask) if is_known else ReaderState())
                page = self._find_page(ask, question)
                if page is not None:
                    return self._page_of_history(page)
                feed = self._make_fresh(question, first_visit=ask.first_visit)
                if feed is not None:
                    return feed
                CONFLICTS.inc()
        raise ReaderBusyError

    def explain(self, ask: Ask) -> Explanation:
        """What a fresh feed would be now, and why. Nothing is recorded.

        Raises:
            ChannelNotFoundError: there is no such channel.
            RedisError: the reader's state could not be read.
        """
        self._check_channel(ask)
        trace = Trace()
        chosen = self._chooser.choose(self._question(ask, self._read(ask)), trace)
        return Explanation(chosen, trace)

    def similar(self, article_id: int, wanted: int) -> list[tuple[int, float]]:
        """The neighbours of an article, as `find_similar` finds them."""
        return find_similar(self._chooser, article_id, wanted, self._clock())

    def _check_channel(self, ask: Ask) -> None:
        if not self._catalogue.has_channel(ask.channel_id):
            raise ChannelNotFoundError(ask.channel_id)

    def _read(self, ask: Ask) -> ReaderState:
        with Step("read"):
            return self._history.read(ask.reader_id)

    def _question(self, ask: Ask, state: ReaderState) -> Question:
        now_ms = self._clock()
        exclude = np.unique(np.array(ask.exclude, np.int64)) if ask.exclude else NO_IDS
        return Question(
            ask.reader_id,
            ask.channel_id,
            ask.wanted,
            now_ms,
            state,
            context=ask.context,
            exclude=exclude,
        )

    def _find_page(self, ask: Ask, question: Question) -> Page | None:
        """The page of history that is asked for, None for a fresh batch."""
        reader = question.reader
        if ask.at_ms:
            reader = self._older.before(reader, ask.reader_id, ask.channel_id, at_ms=ask.at_ms)
        return page_asked_for(reader, ask.channel_id, ask.at_ms, question.now_ms)

    def _make_fresh(self, question: Question, *, first_visit: bool) -> Feed | None:
        """A batch that is recorded, or none where the channel has nothing to show; None if another
        process recorded first."""
        before_ms = self._newest_ms(question)
        chosen = self._chooser.choose(question)
        # What was taken down while it was chosen is not recorded.
        visible = self._are_visible(chosen.ids, question.now_ms)
        ids, numbers = array("q", chosen.ids[visible].tobytes()), chosen.sources[visible]
        GONE.inc(len(visible) - len(ids))
        if not ids:
            return Feed(0, before_ms, (), fresh=True)
        wanted = Batch(
            question.channel_id,
            question.now_ms,
            ids,
            numbers.tobytes(),
            chosen.variant,
            question.context.code,
        )
        with Step("record"):
            batch = self._history.record(
                question.reader_id, wanted, question.reader, first_visit=first_visit
            )
        if batch is None:
            return None
        _feeds("fresh").inc()
        because = [
            reason.article_id
            for reason, is_visible in zip(chosen.reasons, visible.tolist(), strict=True)
            if is_visible
        ]
        articles = self._places(batch, because)
        for number, times in Tally(batch.sources).items():
            _shown(self._chooser.source(number).name).inc(times)
        return Feed(
            batch.stamp_ms,
            before_ms,
            articles,
            fresh=True,
            variant=batch.variant,
            context=batch.context,
        )

    def _newest_ms(self, question: Question) -> int:
        """The stamp of the channel's newest batch, though it may no longer be in Redis."""
        reader, channel_id = question.reader, question.channel_id
        newest_ms = reader.newest_ms(channel_id)
        if newest_ms or not reader.older:
            return newest_ms
        older = self._older.before(
            reader, question.reader_id, channel_id, at_ms=reader.newest_stamp_ms
        )
        return older.newest_ms(channel_id)

    def _page_of_history(self, page: Page) -> Feed:
        _feeds("history").inc()
        batch, before_ms = page
        if batch is None:
            return Feed(0, 0, (), fresh=False)
        visible = self._are_visible(np.frombuffer(batch.article_ids, np.int64), self._clock())
        placed = self._places(batch, [0] * len(batch.article_ids))
        return Feed(
            batch.stamp_ms,
            before_ms,
            [one for one, is_visible in zip(placed, visible.tolist(), strict=True) if is_visible],
            fresh=False,
            variant=batch.variant,
            context=batch.context,
        )

    def _are_visible(self, ids: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
        view = self._catalogue.view()
        rows = view.rows_of(ids)
        known: NDArray[np.bool_] = rows != NO_ROW
        known[known] = view.published[rows[known]] <= now_ms
        return known

    def _places(self, batch: Batch, because: Sequence[int]) -> list[Placed]:
        """The articles of a batch; a batch that a release before recorded knows no sources."""
        return [
            Placed(place, article_id, number, self._reason(number, led_there))
            for place, (article_id, number, led_there) in enumerate(
                zip(batch.article_ids, batch.sources, because, strict=True)
            )
        ]

    def _reason(self, number: int, because: int) -> Reason | None:
        try:
            return reason_for(self._chooser.source(number).name, because)
        except KeyError:
            return None


def _wait_a_moment(attempt: int) -> None:
    """Before another attempt: two processes that met once should not meet again.

    Raises:
        DeadlineExceededError: the caller waits no more.
    """
    deadline = current_deadline()
    if deadline is not None:
        deadline.check()
    time.sleep(random.uniform(0, LONGEST_JITTER_S * attempt))  # noqa: S311 - no secret
