"""The ladder: a page for this reader, from the best step that can give one.

`personal` asks the recommender; `cached` shows the reader's newest batch again if it was not read;
`popular` takes the channel's ranking from Redis; `latest` asks the database. A reader never sees an
error because a model is down, only a plainer page, and the answer says which. Each step is tried
once: what it raises is counted, logged once a second, and answered by the next step. Rejected:
retries and longer waits, which make every reader pay for a page that the next step has at hand.

    feed = recommending.feed(reader_id, channel_id=10, article_num=10, time_stamp=0)
    feed.served_from  # ServedFrom.PERSONAL, as long as all is well
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
from prometheus_client import Counter
from redis import Redis, RedisError
from sqlalchemy.exc import SQLAlchemyError

from gateway.feed.cards import (
    NO_TRACK,
    Feed,
    Reason,
    ServedFrom,
    Track,
    issue_track,
    make_feed_card,
    read_reason,
    read_track,
)
from tidings.http.errors import NothingToServeError
from tidings.news.articles import Articles, Card
from tidings.process.breaker import Breaker
from tidings.process.clock import Clock
from tidings.process.deadline import Deadline, DeadlineExceededError
from tidings.reading import popularity
from tidings.reading.acts import Action
from tidings.reading.contexts import NO_CONTEXT, Context, name_of
from tidings.reading.packed import Batch
from tidings.reading.tracking import LadderSource, Shown, Tracker
from tidings.reading.unread import UnreadBatches
from tidings.rpc.errors import CallerFaultError, RpcError, TransportFaultError
from tidings_idl.recommend import ttypes

# A moment longer ago than this pages back, as the recommender has it; a younger one comes from a
# clock that is behind, unless it is the very stamp of a batch.
CLOCK_SLACK_MS = 3_600_000
# Rankings are a minute old: some of their articles may have been taken down since.
SPARE_ARTICLES = 20
RECOMMENDER_FAILURES = 3
REST_S = 1.0
LOG_EVERY_S = 1.0
# Readers count from 1. A page for nobody has no tokens: there is no reader to report for.
NOBODY = 0
# The steps from here on record nothing.
UNRECORDED = 2

SERVED = Counter(
    "tidings_feeds_served", "Feeds by the step of the ladder that made them", ["served_from"]
)
FALLS = Counter(
    "tidings_feed_falls",
    "Steps of the ladder that failed or were spared, and why",
    ["step", "reason"],
)
log = structlog.get_logger(__name__)

Found = TypeVar("Found")
_idl: Any = ttypes  # NOTE: generated classes carry no annotations
_EXPECTED_FAILURES = (RpcError, DeadlineExceededError, RedisError, SQLAlchemyError, TimeoutError)


class Recommender(Protocol):
    """The RPC client, as far as the ladder needs one."""

    def call(self, method: str, request: Any, deadline: Deadline | None = None) -> Any: ...


class RestingError(Exception):
    """The step failed a moment ago and is left alone."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for which page, and how they came. `time_stamp` is in ms since the epoch; 0 is
    now. `reader_id` may be `NOBODY`."""

    reader_id: int
    channel_id: int
    article_num: int
    time_stamp: int
    now_ms: int
    context: Context = NO_CONTEXT
    first_visit: bool = False


class Recommending:
    """Makes feeds.

    Args:
        recommender: the Thrift service.
        articles: ids → cards, and a channel's newest.
        redis: rankings and histories.
        tracker: issues tokens for what does not come from the recommender.
        recommend_ms: how long the recommender may take.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self,
        *,
        recommender: Recommender,
        articles: Articles,
        redis: Redis,
        tracker: Tracker,
        recommend_ms: int,
        clock: Clock,
    ) -> None:
        self._recommender = recommender
        self._articles = articles
        self._redis = redis
        self._unread = UnreadBatches(redis)
        self._tracker = tracker
        self._recommend_ms = recommend_ms
        self._clock = clock
        self._recommender_breaker = Breaker(opens_after=RECOMMENDER_FAILURES, rest_s=REST_S)
        # One time-out of Redis costs as much as the recommender's whole share, so the first is
        # enough.
        self._redis_breaker = Breaker(opens_after=1, rest_s=REST_S)
        self._logged_at_s: dict[str, float] = {}
        self._steps: tuple[tuple[ServedFrom, Callable[[Ask], Feed | None]], ...] = (
            (ServedFrom.PERSONAL, self._personal),
            (ServedFrom.CACHED, self._cached),
            (ServedFrom.POPULAR, self._popular),
            (ServedFrom.LATEST, self._latest),
        )

    def feed(
        self,
        reader_id: int,
        channel_id: int,
        article_num: int,
        time_stamp: int,
        *,
        context: Context = NO_CONTEXT,
        first_visit: bool = False,
    ) -> Feed:
        """One page of a reader's feed; for `NOBODY` one of those that are in no history.

        Raises:
            CallerFaultError: the recommender refused the request as such.
            NothingToServeError: every step failed.
        """
        now_ms = self._clock()
        ask = Ask(
            reader_id,
            channel_id,
            article_num,
            time_stamp=time_stamp,
            now_ms=now_ms,
            context=context,
            first_visit=first_visit,
        )
        empty: Feed | None = None
        for step, make in self._steps if reader_id != NOBODY else self._steps[UNRECORDED:]:
            try:
                feed = make(ask)
            except CallerFaultError:
                raise
            except Exception as ex:  # noqa: BLE001 - the next step is the answer to whatever it was
                self._fall(step.value, ex)
                continue
            if feed is not None and (
                feed.results or (step is ServedFrom.PERSONAL and self._pages_back(ask))
            ):
                SERVED.labels(step.value).inc()
                return feed
            empty = empty or feed
        if empty is None:
            raise NothingToServeError("every source of articles failed; try again in a moment")
        SERVED.labels(empty.served_from.value).inc()
        return empty

    def _personal(self, ask: Ask) -> Feed | None:
        answer = self._ask_recommender(ask)
        given = {found.article_id: found for found in answer.recommends or ()}
        feed = self._hydrate(
            list(given),
            lambda id_: read_track(given[id_].track),
            ServedFrom.PERSONAL,
            reason_of=lambda id_: read_reason(given[id_].reason),
        )
        return _with(feed, pre_timestamp=answer.time_stamp or 0, exposure=answer.exposure or "")

    def _ask_recommender(self, ask: Ask) -> Any:
        """An `ArticleResponse` of the IDL."""
        device, referrer = map(name_of, ask.context)
        request = _idl.UserRequest(
            user_id=ask.reader_id,
            channel_id=ask.channel_id,
            article_num=ask.article_num,
            time_stamp=ask.time_stamp,
            context=_idl.Context(device, referrer, first_visit=ask.first_visit or None),
        )
        return self._call("user_recommend", request)

    def similar(self, article_id: int, article_num: int) -> list[Card]:
        """The cards of an article's neighbours, the nearest first; none where they cannot be
        had."""
        try:
            answer = self._call(
                "similar_articles",
                _idl.SimilarRequest(article_id=article_id, article_num=article_num),
            )
            ids = [near.article_id for near in answer.neighbours or ()]
            cards = self._articles.cards(ids)
        except Exception as ex:  # noqa: BLE001 - a page without neighbours is a page
            self._fall("similar", ex)
            return []
        return [cards[id_] for id_ in ids if id_ in cards]

    def _call(self, method: str, request: Any) -> Any:
        if not self._recommender_breaker.allows():
            raise RestingError("the recommender failed a moment ago")
        try:
            answer = self._recommender.call(
                method, request, deadline=Deadline.after_ms(self._recommend_ms)
            )
        except (TransportFaultError, DeadlineExceededError):
            self._recommender_breaker.failed()
            raise
        except RpcError:
            self._recommender_breaker.succeeded()
            raise
        self._recommender_breaker.succeeded()
        return answer

    def _cached(self, ask: Ask) -> Feed | None:
        if self._pages_back(ask):
            return None
        unread = self._with_redis(
            lambda: self._unread.find(ask.reader_id, ask.channel_id, ask.now_ms)
        )
        if unread is None:
            return None
        batch = unread.batch
        ids = batch.article_ids[: ask.article_num]
        feed = self._hydrate(ids, self._track_of(ask, batch), ServedFrom.CACHED)
        exposure = Shown(
            Action.EXPOSURE,
            ask.reader_id,
            ask.channel_id,
            stamp_ms=batch.stamp_ms,
            variant=batch.variant,
            context=batch.context,
        )
        return _with(
            feed,
            pre_timestamp=unread.before_ms,
            exposure=self._tracker.issue(exposure, ask.now_ms),
        )

    def _popular(self, ask: Ask) -> Feed:
        wanted = ask.article_num + SPARE_ARTICLES
        ranking = self._with_redis(lambda: popularity.top(self._redis, ask.channel_id, wanted))
        return self._unrecorded(
            ask, [id_ for id_, _ in ranking], ServedFrom.POPULAR, LadderSource.POPULAR, "popular"
        )

    def _latest(self, ask: Ask) -> Feed:
        ids = self._articles.latest(ask.channel_id, ask.article_num)
        return self._unrecorded(ask, ids, ServedFrom.LATEST, LadderSource.NEWEST, "fresh")

    def _unrecorded(
        self, ask: Ask, ids: Sequence[int], step: ServedFrom, source: LadderSource, kind: str
    ) -> Feed:
        """A page that is in no reader's history: without exposure, and paging back leads to where
        it led before."""
        batch = Batch(
            ask.channel_id,
            ask.now_ms,
            array("q", ids),
            bytes([source]) * len(ids),
            context=ask.context.code,
        )
        reason = Reason(kind, 0)
        feed = self._hydrate(
            ids,
            self._track_of(ask, batch) if ask.reader_id != NOBODY else _no_track,
            step,
            limit=ask.article_num,
            reason_of=lambda _: reason,
        )
        return _with(
            feed,
            pre_timestamp=ask.time_stamp if self._pages_back(ask) else self._newest_stamp(ask),
            exposure="",
        )

    def _track_of(self, ask: Ask, batch: Batch) -> Callable[[int], Track]:
        """Issues the tokens of an article by its place in this batch."""
        places = {id_: position for position, id_ in enumerate(batch.article_ids)}

        def issue(article_id: int) -> Track:
            shown = Shown(
                Action.CLICK,
                ask.reader_id,
                ask.channel_id,
                stamp_ms=batch.stamp_ms,
                article_id=article_id,
                position=places[article_id],
                source=batch.sources[places[article_id]],
                variant=batch.variant,
                context=batch.context,
                first_visit=ask.first_visit,
            )
            return issue_track(self._tracker, shown, ask.now_ms)

        return issue

    def _pages_back(self, ask: Ask) -> bool:
        """Whether a page of history is asked for; where Redis is away, the clock alone says so."""
        if ask.time_stamp == 0 or ask.time_stamp >= ask.now_ms or ask.reader_id == NOBODY:
            return False
        if ask.time_stamp < ask.now_ms - CLOCK_SLACK_MS:
            return True
        try:
            return self._with_redis(
                lambda: self._unread.is_stamp(ask.reader_id, ask.channel_id, ask.time_stamp)
            )
        except (RedisError, RestingError):
            return False

    def _newest_stamp(self, ask: Ask) -> int:
        if ask.reader_id == NOBODY:
            return 0
        try:
            return self._with_redis(
                lambda: self._unread.newest_stamp(ask.reader_id, ask.channel_id)
            )
        except (RedisError, RestingError):
            return 0

    def _hydrate(
        self,
        ids: Sequence[int],
        track_of: Callable[[int], Track],
        step: ServedFrom,
        limit: int | None = None,
        *,
        reason_of: Callable[[int], Reason | None] = lambda _: None,
    ) -> Feed:
        """Those of `ids` that may still be shown, in their order."""
        cards = self._articles.cards(ids)
        shown = [id_ for id_ in ids if id_ in cards][:limit]
        return Feed(
            [make_feed_card(cards[id_], track_of(id_), reason_of(id_)) for id_ in shown],
            pre_timestamp=0,
            exposure="",
            served_from=step,
        )

    def _with_redis(self, work: Callable[[], Found]) -> Found:
        if not self._redis_breaker.allows():
            raise RestingError("Redis failed a moment ago")
        try:
            found = work()
        except RedisError:
            self._redis_breaker.failed()
            raise
        self._redis_breaker.succeeded()
        return found

    def _fall(self, step: str, ex: Exception) -> None:
        FALLS.labels(step, type(ex).__name__).inc()
        now_s = time.monotonic()
        if (
            isinstance(ex, RestingError)
            or now_s - self._logged_at_s.get(step, -LOG_EVERY_S) < LOG_EVERY_S
        ):
            return
        self._logged_at_s[step] = now_s
        unexpected = None if isinstance(ex, _EXPECTED_FAILURES) else ex
        log.warning("ladder_step_failed", step=step, error=repr(ex), exc_info=unexpected)


def _no_track(_article_id: int) -> Track:
    return NO_TRACK


def _with(feed: Feed, *, pre_timestamp: int, exposure: str) -> Feed:
    return msgspec.structs.replace(feed, pre_timestamp=pre_timestamp, exposure=exposure)
