"""The recommender for programs written in Python: typed calls, with connections, deadlines and
retries inside.

    with TidingsClient("127.0.0.1:9090") as tidings:
        feed = tidings.feed(user_id=7)
        tidings.report([Event(feed.articles[0].click)])
        for page in tidings.history(user_id=7, before_ms=feed.before_ms):
            ...

A call that fails raises by whose fault it was:

    TidingsError
    ├── MisconfiguredError      an endpoint or a certificate cannot be used; only when it is made
    ├── CallerFaultError        the request is wrong, and `details` says in which field
    ├── ExpectedError           an answer that is no failure
    │   └── NotFoundError       there is no such channel
    ├── ServerFaultError        the service says that it could not
    ├── TransportFaultError     what became of the call is unknown, unless its `sent` is False
    └── DeadlineExceededError   there was no answer in time

What comes back is plain frozen data, so that no caller depends on what the Thrift compiler makes of
the IDL; and a program that imports this loads Thrift and nothing else, no settings of ours and no
metrics. Rejected: handing out the generated classes, which carry no annotations and change with the
compiler.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from itertools import islice
from types import TracebackType
from typing import Any

from tidings.process import deadline
from tidings.process.errors import SettingsError
from tidings.rpc import errors as rpc_errors
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.tls import TlsFiles, client_tls, refuse_plaintext
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend import UserRecommend, ttypes

__all__ = [
    "Article",
    "CallerFaultError",
    "Context",
    "DeadlineExceededError",
    "Dropped",
    "Event",
    "ExpectedError",
    "Explained",
    "Explanation",
    "Feed",
    "MisconfiguredError",
    "Neighbour",
    "NotFoundError",
    "Policy",
    "Reason",
    "ServerFaultError",
    "TidingsClient",
    "TidingsError",
    "TlsFiles",
    "TransportFaultError",
    "Verdict",
]

MOST_EVENTS = 100  # of one report, as `idl/recommend.thrift` says
MOST_EXCLUDED = 1000  # of one request
# NOTE: generated classes carry no annotations.
_idl: Any = ttypes


class TidingsError(Exception):
    """A call failed, or a client could not be made.

    Attributes:
        message: what happened, in one line.
        code: the service's, after HTTP; 0 if the service said nothing.
        details: for each field that was refused, why.
        retryable: nothing was done, so the same call may be sent again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        details: Mapping[str, str] | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = dict(details or {})
        self.retryable = retryable

    def __str__(self) -> str:
        """The message, and what was wrong with each field, as a log or a terminal needs it."""
        wrong = "; ".join(f"{field}: {why}" for field, why in self.details.items())
        return f"{self.message}: {wrong}" if wrong else self.message


class MisconfiguredError(TidingsError):
    """An endpoint is malformed or would be spoken to in plain text, a certificate cannot be used,
    or Thrift's C codec is missing."""


class CallerFaultError(TidingsError):
    """The request is wrong; sending it again cannot help."""


class ExpectedError(TidingsError):
    """An answer that is no failure: not found, conflict."""


class NotFoundError(ExpectedError):
    """What was asked for is not there."""


class ServerFaultError(TidingsError):
    """The service answered that it cannot."""


class TransportFaultError(TidingsError):
    """Connecting, sending, receiving or decoding failed.

    Attributes:
        sent: False only if no byte of this request can have reached the server.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, retryable=not sent)
        self.sent = sent


class DeadlineExceededError(TidingsError, deadline.DeadlineExceededError):
    """There was no answer in time; what became of the call is unknown."""


# The names of the first release, for one more release.
RpcError = TidingsError
CallerFault = CallerFaultError
Expected = ExpectedError
ServerFault = ServerFaultError
TransportFault = TransportFaultError
DeadlineExceeded = DeadlineExceededError


@dataclass(frozen=True, slots=True)
class Context:
    """How a reader came, in the words of the IDL, and articles not to show, at most 1,000; all of
    it may be left out."""

    device: str = ""
    referrer: str = ""
    exclude: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an article is there: a kind of the IDL, and the article that led there, or 0."""

    kind: str
    article_id: int = 0


@dataclass(frozen=True, slots=True)
class Article:
    """One recommended article, and the tokens to report when the reader acts on it: each field of
    the IDL's `Track`. `reason` is None where a service gives none."""

    article_id: int
    click: str
    collect: str
    reading: str
    liking: str
    dislike: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """One page.

    Attributes:
        articles: in the order to show them; empty when the channel, or the history, has none.
        exposure: the token to report once the page was seen; empty for a page out of the history.
        before_ms: the `at_ms` that asks for the page before this one; 0 when there is none.
    """

    articles: tuple[Article, ...]
    exposure: str
    before_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something a reader did, named by a token of a `Feed`.

    Attributes:
        at_ms: when, in milliseconds since the epoch; 0 is now.
        read_ms: how long, for a `reading` token.
        undone: the reader takes the act back. The token does not act again after that.
    """

    token: str
    at_ms: int = 0
    read_ms: int | None = None
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An article near to another, and how near, for comparing it with others of the same answer."""

    article_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Explained:
    """An article that would be shown, with what the ranker saw of it, by name, and what each
    candidate source thinks of it."""

    article_id: int
    source: str
    reason: Reason | None
    score: float
    features: Mapping[str, float]
    strengths: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An article that would not be shown: at which step it fell out, why, and its score if it came
    so far."""

    article_id: int
    step: str
    why: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A reader's next feed, taken apart; see `ExplainResponse` of the IDL."""

    articles: tuple[Explained, ...]
    dropped: tuple[Dropped, ...]
    step_ms: Mapping[str, float]
    variant: int
    model: str


class Verdict(enum.Enum):
    """What became of a reported event."""

    ACCEPTED = 1
    REFUSED = 2
    EXPIRED = 3


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
        device=context.device, referrer=context.referrer, exclude=list(context.exclude)
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
