"""What a feed looks like to HTTP: cards with the tokens to report, and where the page before this
one is.

The fields of `Track` are the acts that a card carries tokens for; `tidings/reading/acts.py` says
which act a field is. Rejected: a `dict` of tokens, which the description in `/openapi.json` could
not name.

    Feed(results=[make_feed_card(card, track)], pre_timestamp=0, exposure="", served_from=step)
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from tidings.news.articles import Card
from tidings.reading.acts import TRACKED
from tidings.reading.tracking import Shown, Tracker


class ServedFrom(Enum):
    """The steps of the ladder, best first."""

    PERSONAL = "personal"
    CACHED = "cached"
    POPULAR = "popular"
    LATEST = "latest"


class Track(msgspec.Struct, frozen=True):
    """Tokens to report when the reader acts on one article. `read` is called `reading` in
    Thrift."""

    click: str
    collect: str
    read: str
    liking: str
    dislike: str


NO_TRACK = Track("", "", "", "", "")


class Reason(msgspec.Struct, frozen=True):
    """Why an article is there: `popular`, `read`, `taste`, `similar`, `fresh`, `backlog` or
    `again`; more may come. `article_id` is the article that led there, 0 if none did."""

    kind: str
    article_id: int


class FeedCard(Card, frozen=True):
    """An article as a feed shows it; `reason` is absent where none is known."""

    track: Track
    reason: Reason | msgspec.UnsetType = msgspec.UNSET


class Feed(msgspec.Struct, frozen=True):
    """One page. `pre_timestamp` asks for the page before, 0 if there is none; `exposure` is empty
    for old pages."""

    results: list[FeedCard]
    pre_timestamp: int
    exposure: str
    served_from: ServedFrom


_ACTION_OF = {action.json_name: action for action in TRACKED}
# A field that is no act of the table ends the start here, not every feed later.
_ACTIONS = tuple(_ACTION_OF[name] for name in Track.__struct_fields__)
_LABELS = tuple(action.label for action in _ACTIONS)


def make_feed_card(card: Card, track: Track, reason: Reason | None = None) -> FeedCard:
    """The card with its tokens; every field of a card comes along by its name."""
    why = msgspec.UNSET if reason is None else reason
    return FeedCard(**msgspec.structs.asdict(card), track=track, reason=why)


def read_reason(reason: Any) -> Reason | None:
    """The reason that the recommender gave.

    Args:
        reason: `Reason` of the IDL. A recommender of an earlier release gives none.
    """
    return None if reason is None else Reason(reason.kind or "", reason.article_id or 0)


def read_track(track: Any) -> Track:
    """The tokens that the recommender issued.

    Args:
        track: `Track` of the IDL. A recommender of an earlier release leaves a newer act out.
    """
    return Track(*[getattr(track, label) or "" for label in _LABELS])


def issue_track(tracker: Tracker, shown: Shown, now_ms: int) -> Track:
    """The tokens of one place in one batch; the action of `shown` does not matter."""
    return Track(*[token.decode() for token in tracker.issue_each(shown, _ACTIONS, now_ms)])
