"""The recommender for programs written in Python: typed calls, with connections, deadlines and
retries inside.

    with TidingsClient("127.0.0.1:9090") as tidings:
        feed = tidings.feed(user_id=7)
        tidings.report([Event(feed.articles[0].click)])

What comes back is plain frozen data, so that no caller depends on what the Thrift compiler makes of
the IDL. Rejected: handing out the generated classes, which carry no annotations and change with the
compiler.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from tidings.process.deadline import Deadline, DeadlineExceededError
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import (
    CallerFaultError,
    ExpectedError,
    RpcError,
    ServerFaultError,
    TransportFaultError,
)
from tidings.rpc.tls import TlsFiles, client_tls, refuse_plaintext
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend import UserRecommend, ttypes

__all__ = [
    "Article",
    "CallerFaultError",
    "DeadlineExceededError",
    "Event",
    "ExpectedError",
    "Feed",
    "RpcError",
    "ServerFaultError",
    "TidingsClient",
    "TlsFiles",
    "TransportFaultError",
    "Verdict",
]

# NOTE: generated classes carry no annotations.
_idl: Any = ttypes


@dataclass(frozen=True, slots=True)
class Article:
    """One recommended article, and the tokens to report when the reader acts on it."""

    article_id: int
    click: str
    collect: str
    reading: str
    liking: str


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
    """

    token: str
    at_ms: int = 0
    read_ms: int | None = None


class Verdict(enum.Enum):
    """What became of a reported event."""

    ACCEPTED = 1
    REFUSED = 2
    EXPIRED = 3


class TidingsClient:
    """Asks one or several recommenders. Safe for threads; connects on first use, which must follow
    any fork.

    Every method raises, by whose fault it was: `CallerFaultError` (do not send it again; `details`
    says which field), `ExpectedError` (there is no such channel), `ServerFaultError`,
    `TransportFaultError` (its `sent` is False if nothing can have been done), or
    `DeadlineExceededError`.

    Args:
        endpoints: each `host:port` or `unix:/path`.
        timeout_ms: longest that a call may take with everything in it; inside a `deadline_scope`
            the nearer end counts.
        caller: the name of the calling program, for the service's logs.
        tls: this program's certificate, its key, and the authority to trust.
        allow_plaintext: without TLS, only endpoints on this machine are accepted unless this is
            set.
        policy: everything else that can be chosen.

    Raises:
        SettingsError: an endpoint is malformed or would be spoken to in plain text, a certificate
            cannot be used, or Thrift's C codec is missing.
    """

    def __init__(
        self,
        *endpoints: str,
        timeout_ms: int = 1000,
        caller: str = "python",
        tls: TlsFiles | None = None,
        allow_plaintext: bool = False,
        policy: Policy | None = None,
    ) -> None:
        if tls is None and not allow_plaintext:
            refuse_plaintext(endpoints)
        self._timeout_ms = timeout_ms
        chosen = replace(
            policy or Policy(timeout_ms=timeout_ms), tls=None if tls is None else client_tls(tls)
        )
        self._client = make_client(UserRecommend, endpoints, policy=chosen, caller=caller)

    def feed(
        self, user_id: int, channel_id: int = 0, article_num: int = 10, at_ms: int = 0
    ) -> Feed:
        """One page of a reader's feed.

        Args:
            user_id: above 0.
            channel_id: 0 is every channel.
            article_num: 1 to 100.
            at_ms: 0 makes a fresh page; a page's `before_ms` asks for the one before it.
        """
        answer = self._call(
            "user_recommend", _idl.UserRequest(user_id, channel_id, article_num, at_ms)
        )
        articles = tuple(_article(found) for found in answer.recommends or ())
        return Feed(articles, answer.exposure or "", answer.time_stamp or 0)

    def report(self, events: Iterable[Event]) -> tuple[Verdict, ...]:
        """Tell what readers did, 1 to 100 events at a time; one verdict for each. The same token
        counts once."""
        sent = [_idl.Event(event.token, event.at_ms, event.read_ms) for event in events]
        answer = self._call("report", _idl.ReportRequest(sent))
        return tuple(Verdict(verdict) for verdict in answer.verdicts or ())

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
        return self._client.call(method, argument, Deadline.after_ms(self._timeout_ms))


def _article(found: Any) -> Article:
    track = found.track
    tokens: Sequence[str] = (track.click, track.collect, track.reading, track.liking)
    return Article(found.article_id, *tokens)
