"""What a feed looks like to HTTP: cards with the tokens to report, and where the page before this
one is."""

from __future__ import annotations

from enum import Enum

import msgspec

from tidings.news.articles import Card, Counts
from tidings.reading.tracking import Action, Shown, Tracker


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


class FeedCard(Card, frozen=True):
    """An article as a feed shows it."""

    track: Track


class Feed(msgspec.Struct, frozen=True):
    """One page. `pre_timestamp` asks for the page before, 0 if there is none; `exposure` is empty
    for old pages."""

    results: list[FeedCard]
    pre_timestamp: int
    exposure: str
    served_from: ServedFrom


def make_feed_card(card: Card, track: Track) -> FeedCard:
    counts: Counts = card.counts
    return FeedCard(
        card.article_id,
        card.title,
        card.summary,
        card.author,
        card.channel_id,
        card.cover,
        card.published_at,
        counts,
        track,
    )


def issue_track(tracker: Tracker, shown: Shown, now_ms: int) -> Track:
    """The four tokens of one place in one batch; the action of `shown` does not matter."""

    def token(action: Action) -> str:
        place = (
            shown.reader_id,
            shown.channel_id,
            shown.stamp_ms,
            shown.article_id,
            shown.position,
            shown.source,
        )
        return tracker.issue(Shown(action, *place), now_ms)

    return Track(
        token(Action.CLICK), token(Action.COLLECT), token(Action.READING), token(Action.LIKING)
    )
