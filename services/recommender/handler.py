"""The Thrift face of the recommender: asks the pipeline, and writes out what goes back.

A feed is written as bytes, since making the structs of ten articles with fifty tokens costs more
than choosing them. Rejected: rules of any kind in here; what a request means is `checking`'s, and
what a feed is the pipeline's.

    RecommendHandler(pipeline, behaviours, tracker, now_ms).user_recommend(UserRequest(user_id=7))
"""

from __future__ import annotations

from functools import lru_cache

from redis import RedisError

from services.recommender.checking import check_explain, check_feed, check_similar
from services.recommender.explaining import to_response
from services.recommender.pipeline import Ask, Feed, Pipeline, Placed
from services.recommender.reasons import Reason
from services.recommender.turns import ReaderBusyError
from tidings.news.channels import ChannelNotFoundError
from tidings.process.clock import Clock
from tidings.reading.acts import TRACKED, Action
from tidings.reading.behaviour import REPORT_LIMIT, Behaviours, Report
from tidings.reading.behaviour import Verdict as ReportVerdict
from tidings.reading.behaviour_log import BacklogFullError
from tidings.reading.tracking import TOKEN_BYTES, Shown, Tracker
from tidings.rpc.errors import ErrorTable, invalid, not_found, unavailable
from tidings.rpc.wire.encoded import Encoded, Pages, Row
from tidings_idl.recommend.ttypes import (
    ArticleResponse,
    ExplainRequest,
    ExplainResponse,
    Neighbour,
    ReportRequest,
    ReportResponse,
    SimilarRequest,
    SimilarResponse,
    UserRequest,
    Verdict,
)
from tidings_idl.recommend.ttypes import Reason as IdlReason

# A row is the number of an article and a token for each of `TRACKED`, by the names of the IDL.
_PAGES = Pages(
    ArticleResponse,
    ["article_id", *(action.label for action in TRACKED)],
    string_bytes=TOKEN_BYTES,
    tail="reason",
)
# What an exposure is about.
WHOLE_BATCH = Placed(0, 0, 0, None)
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
        ask = check_feed(request)
        feed = self._pipeline.recommend(ask)
        now_ms = self._clock()
        exposure = ""
        if feed.fresh and feed.articles:
            exposure = self._tracker.issue(_shown(Action.EXPOSURE, ask, feed), now_ms)
        tails = [_encode_reason(placed.reason) for placed in feed.articles]
        response = ArticleResponse(exposure, feed.before_ms)
        return _PAGES.encode(response, self._rows(ask, feed, now_ms), tails)

    def similar_articles(self, request: SimilarRequest) -> SimilarResponse:
        """The neighbours of an article."""
        article_id, wanted = check_similar(request)
        near = self._pipeline.similar(article_id, wanted)
        return SimilarResponse([Neighbour(id_, score) for id_, score in near])

    def explain(self, request: ExplainRequest) -> ExplainResponse:
        """A reader's next feed, taken apart."""
        return to_response(self._pipeline.explain(check_explain(request)))

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

    def _rows(self, ask: Ask, feed: Feed, now_ms: int) -> list[Row]:
        """The number of each article and its tokens, as `_PAGES` names them."""
        rows: list[Row] = []
        for placed in feed.articles:
            shown = _shown(Action.CLICK, ask, feed, placed)
            tokens = self._tracker.issue_each(shown, TRACKED, now_ms)
            rows.append((placed.article_id, *tokens))
        return rows


def _shown(action: Action, ask: Ask, feed: Feed, placed: Placed = WHOLE_BATCH) -> Shown:
    """What a token of this feed is about."""
    return Shown(
        action,
        ask.reader_id,
        ask.channel_id,
        stamp_ms=feed.stamp_ms,
        article_id=placed.article_id,
        position=placed.position,
        source=placed.source,
        variant=feed.variant,
        context=feed.context,
        first_visit=ask.first_visit,
    )


@lru_cache(maxsize=4096)
def _encode_reason(reason: Reason | None) -> bytes:
    return b"" if reason is None else _PAGES.encode_tail(IdlReason(*reason))
