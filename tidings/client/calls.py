"""`TidingsClient`: the calls, and what turns their answers into plain data.

A method asks for what the IDL asks for, in Python's words. Rejected: deriving the methods from the
IDL when the module is loaded; no editor and no type checker would know them.

    with TidingsClient("127.0.0.1:9090") as tidings:
        tidings.similar(article_id=12)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from http import HTTPStatus
from itertools import islice
from types import TracebackType
from typing import Any

from tidings.client.errors import (
    CallerFaultError,
    DeadlineExceededError,
    ExpectedError,
    MisconfiguredError,
    NotFoundError,
    ServerFaultError,
    TidingsError,
    TransportFaultError,
)
from tidings.client.values import (
    Article,
    Context,
    Dropped,
    Event,
    Explained,
    Explanation,
    Feed,
    Neighbour,
    Reason,
    Verdict,
)
from tidings.process import deadline
from tidings.process.errors import SettingsError
from tidings.rpc import errors as rpc_errors
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.tls import TlsFiles, client_tls, refuse_plaintext
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend import UserRecommend, ttypes

MOST_EVENTS = 100  # of one report, as `idl/recommend.thrift` says
MOST_EXCLUDED = 1000  # of one request
# NOTE: generated classes carry no annotations.
_idl: Any = ttypes


class TidingsClient:
    """Asks one or several recommenders. Safe for threads; connects on first use, which must follow
    any fork.

    Every method that calls raises a `TidingsError`, by whose fault it was.

    Args:
        endpoints: each `host:port` or `unix:/path`.
        timeout_ms: longest that a call may take with everything in it, and what the policy says if
            it is not given; inside a `deadline_scope` the nearer end counts.
        caller: the name of the calling program, for the service's logs.
        tls: this program's certificate, its key, and the authority to trust; what the policy says
            if it is not given.
        allow_plaintext: without TLS, only endpoints on this machine are accepted unless this is
            set.
        policy: everything else that can be chosen.

    Raises:
        MisconfiguredError: an endpoint is malformed or would be spoken to in plain text, a
            certificate cannot be used, or Thrift's C codec is missing.
    """

    def __init__(
        self,
        *endpoints: str,
        timeout_ms: int | None = None,
        caller: str = "python",
        tls: TlsFiles | None = None,
        allow_plaintext: bool = False,
        policy: Policy | None = None,
    ) -> None:
        chosen = policy or Policy()
        if timeout_ms is not None:
            chosen = replace(chosen, timeout_ms=timeout_ms)
        try:
            if tls is not None:
                chosen = replace(chosen, tls=client_tls(tls))
            if chosen.tls is None and not allow_plaintext:
                refuse_plaintext(endpoints)
            self._client = make_client(UserRecommend, endpoints, policy=chosen, caller=caller)
        except SettingsError as ex:
            raise MisconfiguredError(str(ex)) from ex

    def feed(
        self,
        user_id: int,
        channel_id: int = 0,
        article_num: int = 10,
        at_ms: int = 0,
        *,
        context: Context | None = None,
    ) -> Feed:
        """One page of a reader's feed.

        Args:
            user_id: above 0.
            channel_id: 0 is every channel.
            article_num: 1 to 100.
            at_ms: 0 makes a fresh page; a page's `before_ms` asks for the one before it.
            context: how the reader came, and what not to show.

        Raises:
            CallerFaultError: more than 1,000 articles are not to be shown; nothing was sent.
        """
        request = _idl.UserRequest(
            user_id=user_id,
            channel_id=channel_id,
            article_num=article_num,
            time_stamp=at_ms,
            context=_context(context),
        )
        answer = self._call("user_recommend", request)
        articles = tuple(_article(found) for found in answer.recommends or ())
        return Feed(articles, answer.exposure or "", answer.time_stamp or 0)

    def history(
        self,
        user_id: int,
        channel_id: int = 0,
        article_num: int = 10,
        *,
        before_ms: int | None = None,
    ) -> Iterator[Feed]:
        """A reader's pages, from the newest back; each is asked for as it is needed.

        Args:
            user_id: above 0.
            channel_id: 0 is every channel.
            article_num: 1 to 100; for each page.
            before_ms: a page's, to begin with the one before it; None makes a fresh page first.
        """
        at_ms = before_ms
        while at_ms != 0:
            page = self.feed(user_id, channel_id, article_num, at_ms=at_ms or 0)
            if page.articles:
                yield page
            at_ms = page.before_ms

    def report(self, events: Iterable[Event]) -> tuple[Verdict, ...]:
        """Tell what readers did; one verdict for each event.

        More than `MOST_EVENTS` are sent as several reports, each with the whole time-out. If one of
        them fails, report all of them again: the same token counts once.
        """
        verdicts: list[Verdict] = []
        rest = iter(events)
        while sent := [_event(event) for event in islice(rest, MOST_EVENTS)]:
            answer = self._call("report", _idl.ReportRequest(events=sent))
            verdicts += map(Verdict, answer.verdicts or ())
        return tuple(verdicts)

    def similar(self, article_id: int, article_num: int = 10) -> tuple[Neighbour, ...]:
        """The articles nearest to one, the nearest first; none where nothing is known of it."""
        request = _idl.SimilarRequest(article_id=article_id, article_num=article_num)
        near = self._call("similar_articles", request).neighbours or ()
        return tuple(Neighbour(one.article_id, one.score) for one in near)

    def explain(
        self,
        user_id: int,
        channel_id: int = 0,
        article_num: int = 10,
        *,
        context: Context | None = None,
    ) -> Explanation:
        """What `feed` would show now, and why. Nothing is recorded."""
        request = _idl.ExplainRequest(
            user_id=user_id,
            channel_id=channel_id,
            article_num=article_num,
            context=_context(context),
        )
        answer = self._call("explain", request)
        return Explanation(
            tuple(_explained(found) for found in answer.articles or ()),
            tuple(_dropped(found) for found in answer.dropped or ()),
            answer.step_ms or {},
            answer.variant or 0,
            answer.model or "",
        )

    def is_ready(self) -> bool:
        """May a recommender be sent work now. It raises only if none can be asked."""
        return bool(self._call("is_healthy", HealthProbe.READINESS))

    def close(self) -> None:
        """Close every connection; calls after this fail."""
        self._client.close()

    def __enter__(self) -> TidingsClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        ex: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: str, argument: Any) -> Any:
        try:
            return self._client.call(method, argument)
        except rpc_errors.TransportFaultError as ex:
            raise TransportFaultError(ex.message, sent=ex.sent) from ex
        except rpc_errors.RpcError as ex:
            raise _as_ours(ex) from ex
        except deadline.DeadlineExceededError as ex:
            raise DeadlineExceededError(str(ex), code=HTTPStatus.GATEWAY_TIMEOUT) from ex


_TIERS: Sequence[tuple[type[rpc_errors.RpcError], type[TidingsError]]] = (
    (rpc_errors.CallerFaultError, CallerFaultError),
    (rpc_errors.ExpectedError, ExpectedError),
    (rpc_errors.ServerFaultError, ServerFaultError),
)
_TOKENS = [field.name for field in fields(Article) if field.name not in ("article_id", "reason")]


def _as_ours(ex: rpc_errors.RpcError) -> TidingsError:
    tier = next((ours for kind, ours in _TIERS if isinstance(ex, kind)), TidingsError)
    if ex.code == HTTPStatus.NOT_FOUND:
        tier = NotFoundError
    return tier(ex.message, code=ex.code, details=ex.details, retryable=ex.retryable)


def _article(found: Any) -> Article:
    tokens = {name: getattr(found.track, name) or "" for name in _TOKENS}
    return Article(article_id=found.article_id, reason=_reason(found.reason), **tokens)


def _reason(found: Any) -> Reason | None:
    return None if found is None else Reason(found.kind or "", found.article_id or 0)


def _context(context: Context | None) -> Any:
    if context is None:
        return None
    number = len(context.exclude)
    if number > MOST_EXCLUDED:
        # A service closes the connection on a list that is longer still, and says nothing.
        reason = f"expected at most {MOST_EXCLUDED} articles, got {number}"
        raise CallerFaultError("the request is not valid", code=422, details={"exclude": reason})
    return _idl.Context(
        device=context.device,
        referrer=context.referrer,
        exclude=list(context.exclude),
        first_visit=context.first_visit or None,
    )


def _explained(found: Any) -> Explained:
    return Explained(
        found.article_id,
        found.source or "",
        _reason(found.reason),
        found.score or 0.0,
        found.features or {},
        found.strengths or {},
    )


def _dropped(found: Any) -> Dropped:
    return Dropped(found.article_id, found.step or "", found.why or "", found.score)


def _event(event: Event) -> Any:
    return _idl.Event(
        token=event.token, at=event.at_ms, read_ms=event.read_ms, undone=event.undone or None
    )
