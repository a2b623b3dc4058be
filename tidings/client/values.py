"""What goes into and comes out of calls of `TidingsClient`: plain frozen data.

Rejected: the classes that the Thrift compiler makes, which can be changed by their holder and carry
no annotations.

    Event(feed.articles[0].reading, read_ms=40_000)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """How a reader came, in the words of the IDL, and articles not to show, at most 1,000; all of
    it may be left out. `first_visit` says that the caller made the reader's id up just now."""

    device: str = ""
    referrer: str = ""
    exclude: Sequence[int] = ()
    first_visit: bool = False


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
