"""The Thrift face of the recommender: checks what came in, asks the pipeline, and writes out what
goes back.

Thrift enforces neither ranges nor presence, so every field is taken for optional and checked here,
once.

    RecommendHandler(pipeline, behaviours, tracker, now_ms).user_recommend(UserRequest(user_id=7))
"""

from __future__ import annotations

from typing import NamedTuple

from redis import RedisError

from services.recommender.pipeline import Feed, Pipeline
from services.recommender.turns import ReaderBusyError
from tidings.news.channels import ChannelNotFoundError
from tidings.process.clock import Clock
from tidings.reading.acts import TRACKED, Action
from tidings.reading.behaviour import REPORT_LIMIT, Behaviours, Report
from tidings.reading.behaviour import Verdict as ReportVerdict
from tidings.reading.behaviour_log import BacklogFullError
from tidings.reading.pages import LONGEST_PAGE, PAGE_SIZE
from tidings.reading.tracking import TOKEN_BYTES, Shown, Tracker
from tidings.rpc.errors import ErrorTable, invalid, not_found, unavailable
from tidings.rpc.wire.encoded import Encoded, Pages, Row
from tidings_idl.recommend.ttypes import (
    ArticleResponse,
    ReportRequest,
    ReportResponse,
    UserRequest,
    Verdict,
)

# A row is the number of an article and a token for each of `TRACKED`, by the names of the IDL.
_PAGES = Pages(
    ArticleResponse,
    ["article_id", *(action.label for action in TRACKED)],
    string_bytes=TOKEN_BYTES,
)
VERDICTS = {
    ReportVerdict.ACCEPTED: Verdict.ACCEPTED,
    ReportVerdict.REFUSED: Verdict.REFUSED,
    ReportVerdict.EXPIRED: Verdict.EXPIRED,
}

# How the domain's exceptions look to a caller.
ERRORS: ErrorTable = {
    ChannelNotFoundError: lambda ex: not_found(str(ex)),
    ReaderBusyError: lambda ex: unavailable(str(ex)),
    BacklogFullError: lambda ex: unavailable(str(ex)),
    RedisError: lambda _: unavailable("the readers' histories cannot be reached just now"),
}


class RecommendHandler:
    """Implements `UserRecommend` of `idl/recommend.thrift`."""

    def __init__(
        self, pipeline: Pipeline, behaviours: Behaviours, tracker: Tracker, clock: Clock
    ) -> None:
        self._pipeline = pipeline
        self._behaviours = behaviours
        self._tracker = tracker
        self._clock = clock

    def user_recommend(self, request: UserRequest) -> Encoded:
        """One page of a reader's feed: an `ArticleResponse`."""
        asked = _check_request(request)
        user_id, channel_id = asked.user_id, asked.channel_id
        feed = self._pipeline.recommend(
            user_id, channel_id, asked.article_num, at_ms=asked.time_stamp
        )
        now_ms = self._clock()
        exposure = ""
        if feed.fresh and feed.articles:
            exposure = self._tracker.issue(
                Shown(Action.EXPOSURE, user_id, channel_id, stamp_ms=feed.stamp_ms), now_ms
            )
        rows = self._rows(feed, user_id, channel_id, now_ms=now_ms)
        return _PAGES.encode(ArticleResponse(exposure, feed.before_ms), rows)

    def report(self, request: ReportRequest) -> ReportResponse:
        """What readers did, in bulk."""
        events = (request.events if request is not None else None) or []
        if not 1 <= len(events) <= REPORT_LIMIT:
            raise invalid({"events": f"expected 1 to {REPORT_LIMIT} events, got {len(events)}"})
        reports = [
            Report(event.token or "", event.at or 0, event.read_ms, undone=bool(event.undone))
            for event in events
        ]
        return ReportResponse([VERDICTS[verdict] for verdict in self._behaviours.report(reports)])

    def _rows(self, feed: Feed, user_id: int, channel_id: int, *, now_ms: int) -> list[Row]:
        """The number of each article and its tokens, as `_PAGES` names them."""
        rows: list[Row] = []
        for placed in feed.articles:
            shown = Shown(
                Action.CLICK,
                user_id,
                channel_id,
                stamp_ms=feed.stamp_ms,
                article_id=placed.article_id,
                position=placed.position,
                source=placed.source,
            )
            tokens = self._tracker.issue_each(shown, TRACKED, now_ms)
            rows.append((placed.article_id, *tokens))
        return rows


class _Asked(NamedTuple):
    """A `UserRequest` as the IDL means it."""

    user_id: int
    channel_id: int
    article_num: int
    time_stamp: int


def _check_request(request: UserRequest | None) -> _Asked:
    """The request with its absent fields as their defaults.

    Raises:
        Error: 422, with a reason for each field that is out of range.
    """
    if request is None:
        raise invalid({"request": "expected a UserRequest, got nothing"})
    user_id = request.user_id or 0
    channel_id = request.channel_id or 0
    article_num = PAGE_SIZE if request.article_num is None else request.article_num
    time_stamp = request.time_stamp or 0
    reasons = {}
    if user_id < 1:
        reasons["user_id"] = f"expected a number above 0, got {user_id}"
    if channel_id < 0:
        reasons["channel_id"] = (
            f"expected 0 for every channel or a channel's number, got {channel_id}"
        )
    if not 1 <= article_num <= LONGEST_PAGE:
        reasons["article_num"] = f"expected 1 to {LONGEST_PAGE}, got {article_num}"
    if time_stamp < 0:
        reasons["time_stamp"] = f"expected milliseconds since 1970, or 0 for now, got {time_stamp}"
    if reasons:
        raise invalid(reasons)
    return _Asked(user_id, channel_id, article_num, time_stamp=time_stamp)
