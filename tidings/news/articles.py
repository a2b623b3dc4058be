"""Articles, their channels and their counts: what may be shown, in which form, and where it is
kept.

A card is what a feed shows of an article, a page is the whole of it. Both come from the cache
first. What is taken down or not yet published is filtered in SQL, the one place every path goes
through.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from redis import Redis
from sqlalchemy import Engine, Row, Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from tidings.news.tables import article, author, channel
from tidings.process.clock import Clock, milliseconds, moment
from tidings.reading.tables import article_count
from tidings.store.cache import CacheAside
from tidings.store.engine import database_now, transaction
from tidings.store.keys import CARD, PAGE

PUBLISHED = "published"
TAKEN_DOWN = "taken_down"
CHANNELS_TTL_MS = 2000

log = structlog.get_logger(__name__)


class ArticleNotFoundError(Exception):
    """There is no such article, or it was taken down, or it is not published yet."""

    def __init__(self, article_id: int) -> None:
        super().__init__(f"there is no article {article_id}")
        self.article_id = article_id


class ChannelNotFoundError(Exception):
    """There is no such channel."""

    def __init__(self, channel_id: int) -> None:
        super().__init__(f"there is no channel {channel_id}")
        self.channel_id = channel_id


class Counts(msgspec.Struct, frozen=True):
    """How often readers did what with one article."""

    exposure: int = 0
    click: int = 0
    read: int = 0
    collect: int = 0
    liking: int = 0


class Card(msgspec.Struct, frozen=True):
    """What a feed shows of an article. `published_at` is in ms since the epoch."""

    article_id: int
    title: str
    summary: str
    author: str | None
    channel_id: int
    cover: str | None
    published_at: int
    counts: Counts


class Page(Card, frozen=True):
    """The whole article; `body` is sanitised HTML, moments are in ms since the epoch."""

    body: str
    url: str | None
    updated_at: int


class Channel(msgspec.Struct, frozen=True):
    """A part of the site. Channel 0, "for you", is all of them and is not in the table."""

    channel_id: int
    slug: str
    name: str


FOR_YOU = Channel(0, "for-you", "For you")


class Articles:
    """Reads articles for the web side.

    Args:
        engine: the database.
        redis: keeps cards and pages for `card_ttl_s`.
        clock: now, in ms since the epoch.
    """

    def __init__(self, engine: Engine, redis: Redis, *, card_ttl_s: int, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._cards = CacheAside(redis, CARD, Card, self._load_cards, card_ttl_s)
        self._pages = CacheAside(redis, PAGE, Page, self._load_pages, card_ttl_s)
        self._channels: tuple[int, dict[int, Channel]] = (-CHANNELS_TTL_MS, {})
        self._channels_lock = threading.Lock()

    def cards(self, ids: Sequence[int]) -> dict[int, Card]:
        """id → card, for those of `ids` that may be shown."""
        return self._cards.get_many(ids)

    def page(self, article_id: int) -> Page:
        """The whole article.

        Raises:
            ArticleNotFoundError: it may not be shown.
        """
        found = self._pages.get_many([article_id])
        if article_id not in found:
            raise ArticleNotFoundError(article_id)
        return found[article_id]

    def latest(self, channel_id: int, limit: int) -> list[int]:
        """The ids of a channel's newest articles, newest first; channel 0 is every channel."""
        query = (
            _visible(select(article.c.id), self._clock())
            .order_by(article.c.published_at.desc(), article.c.id.desc())
            .limit(limit)
        )
        if channel_id:
            query = query.where(article.c.channel_id == channel_id)
        with self._engine.connect() as conn:
            return list(conn.scalars(query))

    def channels(self) -> list[Channel]:
        """ "For you" and every channel, in the order of their ids. At most two seconds old."""
        return list(self._read_channels().values())

    def channel(self, channel_id: int) -> Channel:
        """One channel.

        Raises:
            ChannelNotFoundError: there is none of this id.
        """
        try:
            return self._read_channels()[channel_id]
        except KeyError:
            raise ChannelNotFoundError(channel_id) from None

    def forget(self, ids: Sequence[int]) -> None:
        """Drop what is cached of these articles, after a change to them was committed."""
        self._cards.forget(ids)
        self._pages.forget(ids)

    def take_down(self, article_id: int) -> None:
        """Show the article nowhere any more: at once from the cache, within seconds from every
        feed.

        Raises:
            ArticleNotFoundError: there is none of this id.
        """
        with transaction(self._engine) as conn:
            changed = conn.execute(
                update(article)
                .where(article.c.id == article_id)
                # The database's clock, which all writers share: whoever follows `updated_at` must
                # not miss this one.
                .values(status=TAKEN_DOWN, updated_at=database_now(conn))
            )
            if not changed.rowcount:
                raise ArticleNotFoundError(article_id)
        self._cards.bury([article_id])
        self._pages.bury([article_id])

    def _read_channels(self) -> dict[int, Channel]:
        now_ms = self._clock()
        channels = self._known_channels(now_ms)
        # One caller reads them again; meanwhile a slow database holds up nobody who has something
        # to be served.
        if channels is None and self._channels_lock.acquire(blocking=not self._channels[1]):
            try:
                channels = self._known_channels(now_ms) or self._refresh_channels(now_ms)
            finally:
                self._channels_lock.release()
        return self._channels[1] if channels is None else channels

    def _known_channels(self, now_ms: int) -> dict[int, Channel] | None:
        read_at_ms, channels = self._channels
        return channels if 0 <= now_ms - read_at_ms < CHANNELS_TTL_MS else None

    def _refresh_channels(self, now_ms: int) -> dict[int, Channel]:
        _, channels = self._channels
        try:
            channels = self._load_channels()
        except SQLAlchemyError as ex:
            if not channels:
                raise
            log.warning("channels_not_read", error=repr(ex))
        self._channels = (now_ms, channels)
        return channels

    def _load_channels(self) -> dict[int, Channel]:
        with self._engine.connect() as conn:
            rows = conn.execute(
                select(channel.c.id, channel.c.slug, channel.c.name).order_by(channel.c.id)
            )
            return {0: FOR_YOU} | {row.id: Channel(*row) for row in rows}

    def _load_cards(self, ids: Sequence[int]) -> Mapping[int, Card]:
        with self._engine.connect() as conn:
            rows = conn.execute(
                _visible(_select_cards().where(article.c.id.in_(ids)), self._clock())
            )
            return {row.id: Card(**_card_fields(row)) for row in rows}

    def _load_pages(self, ids: Sequence[int]) -> Mapping[int, Page]:
        query = _select_cards().add_columns(article.c.body, article.c.url, article.c.updated_at)
        with self._engine.connect() as conn:
            rows = conn.execute(_visible(query.where(article.c.id.in_(ids)), self._clock()))
            return {
                row.id: Page(
                    **_card_fields(row),
                    body=row.body,
                    url=row.url,
                    updated_at=milliseconds(row.updated_at),
                )
                for row in rows
            }


def _visible(query: Select[Any], now_ms: int) -> Select[Any]:
    return query.where(article.c.status == PUBLISHED, article.c.published_at <= moment(now_ms))


def _select_cards() -> Select[Any]:
    counts = article_count.c
    return (
        select(
            article.c.id,
            article.c.title,
            article.c.summary,
            author.c.name.label("author"),
            article.c.channel_id,
            article.c.cover,
            article.c.published_at,
            counts.exposure,
            counts.click,
            counts.reading,
            counts.collect,
            counts.liking,
        )
        .outerjoin(author, author.c.id == article.c.author_id)
        .outerjoin(article_count, counts.article_id == article.c.id)
    )


def _card_fields(row: Row[Any]) -> dict[str, Any]:
    counts = Counts(
        exposure=row.exposure or 0,
        click=row.click or 0,
        read=row.reading or 0,
        collect=row.collect or 0,
        liking=row.liking or 0,
    )
    return {
        "article_id": row.id,
        "title": row.title,
        "summary": row.summary,
        "author": row.author,
        "channel_id": row.channel_id,
        "cover": row.cover,
        "published_at": milliseconds(row.published_at),
        "counts": counts,
    }
