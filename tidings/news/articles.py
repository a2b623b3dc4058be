"""Articles as readers get them: cards, whole articles, and the newest of a channel.

A card is what a feed shows of an article, a whole article has its body too. Both come from the
cache first. What readers may see is asked of `visibility`, in SQL, so that a cache holds only what
could be shown; a change of an article has it forgotten or buried here, after the commit.

    articles = Articles(engine, redis, card_ttl_s=300, clock=now_ms)
    articles.cards([41, 42])  # {42: Card(article_id=42, ...)} where 41 was taken down
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter
from redis import Redis, RedisError
from sqlalchemy import Connection, Engine, Row, Select, select, type_coerce

from tidings.news.counted import COUNTED, Counts
from tidings.news.counts import make_counts
from tidings.news.covers import shown_cover
from tidings.news.tables import article, article_count, author
from tidings.news.visibility import is_visible, newest_ids
from tidings.process.clock import Clock, milliseconds, moment
from tidings.store.cache import CacheAside
from tidings.store.engine import after_commit
from tidings.store.keys import CARD, WHOLE_ARTICLE
from tidings.store.metadata import ReadableMoment

# Called with the ids of articles that stayed in the cache.
OnStale = Callable[[Collection[int], RedisError], None]

log = structlog.get_logger(__name__)
_NOT_FORGOTTEN = Counter(
    "tidings_articles_not_forgotten",
    "Changed articles that stayed in the cache because Redis did not answer",
)


class ArticleNotFoundError(Exception):
    """There is no such article, or it was taken down, or it is not published yet."""

    def __init__(self, article_id: int) -> None:
        super().__init__(f"there is no article {article_id}")
        self.article_id = article_id


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed shows of an article. `published_at` is in ms since the epoch; `cover` is an
    address, and `language` as BCP 47 has it, where the article's source names one."""

    article_id: int
    title: str
    summary: str
    author: str | None
    channel_id: int
    cover: str | None
    published_at: int
    counts: Counts
    # A worker of the release before caches cards without.
    language: str | None = None


class WholeArticle(Card, frozen=True, kw_only=True):
    """All of an article; `body` is sanitised HTML, moments are in ms since the epoch."""

    body: str
    url: str | None
    updated_at: int


def _log_stale(ids: Collection[int], ex: RedisError) -> None:
    log.warning("articles_not_forgotten", articles=sorted(ids)[:20], error=repr(ex))


class Articles:
    """Reads articles for the web side, and keeps the caches true to them.

    Args:
        engine: the database.
        redis: keeps cards and whole articles for `card_ttl_s`.
        clock: now, in ms since the epoch.
        on_stale: says that Redis could not be told of a change; by default in the log.
    """

    def __init__(
        self,
        engine: Engine,
        redis: Redis,
        *,
        card_ttl_s: int,
        clock: Clock,
        on_stale: OnStale = _log_stale,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._cards = CacheAside(redis, CARD, Card, load=self._load_cards, ttl_s=card_ttl_s)
        self._wholes = CacheAside(
            redis, WHOLE_ARTICLE, WholeArticle, load=self._load_wholes, ttl_s=card_ttl_s
        )
        self._on_stale = on_stale

    def cards(self, ids: Sequence[int]) -> dict[int, Card]:
        """id → card, for those of `ids` that may be shown."""
        return self._cards.get_many(ids)

    def whole(self, article_id: int) -> WholeArticle:
        """The whole article.

        Raises:
            ArticleNotFoundError: it may not be shown.
        """
        found = self._wholes.get_many([article_id])
        if article_id not in found:
            raise ArticleNotFoundError(article_id)
        return found[article_id]

    def latest(self, channel_id: int, limit: int) -> list[int]:
        """The ids of a channel's newest articles, newest first."""
        with self._engine.connect() as conn:
            return newest_ids(conn, now=moment(self._clock()), limit=limit, channel_id=channel_id)

    def forget(self, ids: Collection[int]) -> None:
        """Have changed articles loaded anew; call it after the commit.

        A Redis that is away is counted and told to `on_stale`, never raised: the change stands in
        the database, and what is cached lasts `card_ttl_s` at most.
        """
        self._tell_caches(ids, self._cards.forget, self._wholes.forget)

    def forget_after(self, conn: Connection, ids: Collection[int]) -> None:
        """Have changed articles loaded anew once this transaction has committed."""
        after_commit(conn, lambda: self.forget(ids))

    def bury_after(self, conn: Connection, ids: Collection[int]) -> None:
        """Have the caches say, once this transaction has committed, that there are no such
        articles; a load under way cannot say otherwise."""
        after_commit(conn, lambda: self._tell_caches(ids, self._cards.bury, self._wholes.bury))

    def _tell_caches(
        self, ids: Collection[int], *caches: Callable[[Collection[int]], None]
    ) -> None:
        try:
            for tell in caches:
                tell(ids)
        except RedisError as ex:
            _NOT_FORGOTTEN.inc(len(ids))
            self._on_stale(ids, ex)

    def _load_cards(self, ids: Sequence[int]) -> Mapping[int, Card]:
        with self._engine.connect() as conn:
            rows = _readable(conn.execute(self._visible(_select_cards(), ids)))
            return {row.id: Card(**_card_fields(row)) for row in rows}

    def _load_wholes(self, ids: Sequence[int]) -> Mapping[int, WholeArticle]:
        query = _select_cards().add_columns(article.c.body, article.c.url, article.c.updated_at)
        with self._engine.connect() as conn:
            return {
                row.id: WholeArticle(
                    **_card_fields(row),
                    body=row.body,
                    url=row.url,
                    updated_at=milliseconds(row.updated_at),
                )
                for row in _readable(conn.execute(self._visible(query, ids)))
            }

    def _visible(self, query: Select[Any], ids: Sequence[int]) -> Select[Any]:
        return query.where(article.c.id.in_(ids), is_visible(moment(self._clock())))


def existing_ids(conn: Connection, ids: Collection[int]) -> set[int]:
    """Those of these articles that exist, whether readers may see them or not."""
    return set(conn.scalars(select(article.c.id).where(article.c.id.in_(ids))))


def _select_cards() -> Select[Any]:
    return (
        select(
            article.c.id,
            article.c.title,
            article.c.summary,
            author.c.name.label("author"),
            article.c.channel_id,
            article.c.cover,
            article.c.image,
            article.c.language,
            type_coerce(article.c.published_at, ReadableMoment()).label("published_at"),
            *(article_count.c[name] for name in COUNTED),
        )
        .outerjoin(author, author.c.id == article.c.author_id)
        .outerjoin(article_count, article_count.c.article_id == article.c.id)
    )


def _readable(rows: Iterable[Row[Any]]) -> Iterator[Row[Any]]:
    """Without an article whose publication is no date: the others of the feed are shown."""
    for row in rows:
        if row.published_at is None:
            log.error("article_left_out", article=row.id, error="its publication is not a date")
        else:
            yield row


def _card_fields(row: Row[Any]) -> dict[str, Any]:
    return {
        "article_id": row.id,
        "title": row.title,
        "summary": row.summary,
        "author": row.author,
        "channel_id": row.channel_id,
        "cover": shown_cover(row.cover, row.image),
        "published_at": milliseconds(row.published_at),
        "counts": make_counts(row),
        "language": row.language,
    }
