"""Articles in order, for those who list them: the static site, and an editor at the command line.

Each query reads what its list shows and no more, since a body is half a megabyte where a title is a
line. A row whose publication is no date is left out and logged, so that one bad row does not hold
up a site.

    with engine.connect() as conn:
        find_articles(conn, status="scheduled", limit=20)
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    cast,
    exists,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.types import NullType

from tidings.news.articles import ArticleNotFoundError
from tidings.news.channels import FOR_YOU, is_every_channel
from tidings.news.counted import COUNTED
from tidings.news.counts import make_counts
from tidings.news.covers import shown_cover
from tidings.news.tables import article, article_count, article_gone, author, channel
from tidings.news.visibility import is_published, is_visible
from tidings.store.metadata import Moment, ReadableMoment

log = structlog.get_logger(__name__)


class Visible(NamedTuple):
    """What deciding about an article's file needs."""

    article_id: int
    channel_id: int
    author_id: int | None
    published_at: datetime
    updated_at: datetime
    image: str | None


class Dated(NamedTuple):
    """Where an article stands, and since when."""

    article_id: int
    channel_id: int
    published_at: datetime


class Headline(NamedTuple):
    """What a list shows of an article; `cover` is an address for readers."""

    article_id: int
    title: str
    summary: str
    cover: str | None
    language: str | None


class Text(NamedTuple):
    """What an article's own file shows of it; `body` is sanitised HTML."""

    article_id: int
    title: str
    summary: str
    cover: str | None
    language: str | None
    url: str | None
    body: str


class Listed(NamedTuple):
    """A line of an editor's list. A publication that cannot be read is None."""

    article_id: int
    status: str
    published_at: datetime | None
    channel: str
    title: str


class ListPlace(NamedTuple):
    """After a line of an editor's list: its publication as the database holds it, and its id."""

    published: str
    article_id: int


class ListPage(NamedTuple):
    """A part of an editor's list, and where the next one begins; None where it ends."""

    lines: list[Listed]
    next: ListPlace | None


class Record(NamedTuple):
    """Everything that is stored of an article. A moment that cannot be read is None."""

    article_id: int
    origin_id: int
    source_id: str
    status: str
    channel_id: int
    channel: str
    author: str | None
    title: str
    summary: str
    cover: str | None
    image: str | None
    url: str | None
    language: str | None
    note: str | None
    published_at: datetime | None
    updated_at: datetime | None
    edited_at: datetime | None
    markdown: str | None
    counts: dict[str, int]
    body: str


class ChannelListed(NamedTuple):
    """A channel and how many articles stand in it, those that readers do not see included."""

    channel_id: int
    slug: str
    name: str
    articles: int


def read_visible(conn: Connection, *, now: datetime) -> list[Visible]:
    """Every article that readers may see at `now`, newest first."""
    query = (
        select(
            article.c.id,
            article.c.channel_id,
            article.c.author_id,
            type_coerce(article.c.published_at, ReadableMoment()).label("published_at"),
            type_coerce(article.c.updated_at, ReadableMoment()).label("updated_at"),
            article.c.image,
        )
        .where(is_visible(now))
        .order_by(article.c.published_at.desc(), article.c.id.desc())
    )
    found = []
    for row in conn.execute(query):
        if row.published_at is None or row.updated_at is None:
            log.error("article_left_out", article=row.id, error="one of its moments is not a date")
        else:
            found.append(Visible(*row))
    return found


def read_dated(conn: Connection, article_ids: Collection[int]) -> list[Dated]:
    """These articles, in the order of their ids."""
    query = select(article.c.id, article.c.channel_id, article.c.published_at)
    rows = conn.execute(query.where(article.c.id.in_(article_ids)).order_by(article.c.id))
    return [Dated(*row) for row in rows]


def read_headlines(conn: Connection, article_ids: Collection[int]) -> dict[int, Headline]:
    """Id → headline, for those of these articles that are published."""
    rows = conn.execute(_select_teasers().where(article.c.id.in_(article_ids), is_published()))
    return {row.id: Headline(*_teaser_fields(row)) for row in rows}


def read_texts(conn: Connection, article_ids: Collection[int]) -> list[Text]:
    """Those of these articles that are published, in no particular order."""
    query = _select_teasers().add_columns(article.c.url, article.c.body)
    return [
        Text(*_teaser_fields(row), url=row.url, body=row.body)
        for row in conn.execute(query.where(article.c.id.in_(article_ids), is_published()))
    ]


def _select_teasers() -> Select[Any]:
    mine = article.c
    return select(mine.id, mine.title, mine.summary, mine.cover, mine.image, mine.language)


def _teaser_fields(row: Row[Any]) -> tuple[int, str, str, str | None, str | None]:
    return row.id, row.title, row.summary, shown_cover(row.cover, row.image), row.language


def find_articles(
    conn: Connection,
    *,
    limit: int,
    channel_id: int = FOR_YOU.channel_id,
    status: str | None = None,
    origin_id: int | None = None,
    by: str | None = None,
    text: str | None = None,
    after: ListPlace | None = None,
) -> ListPage:
    """The newest articles, whether readers see them or not.

    Args:
        conn: a connection.
        limit: how many at most.
        channel_id: of one channel; of all for "for you".
        status: one of `visibility.STATUSES`; None is any.
        origin_id: of one source.
        by: the name of their author.
        text: what stands in their title or summary.
        after: the place at which the page before ended.
    """
    published: ColumnElement[Any] = type_coerce(article.c.published_at, NullType())
    if conn.dialect.name != "sqlite":  # which holds text there; and any, where others hold moments
        published = cast(article.c.published_at, String(32))
    query = (
        select(
            article.c.id,
            article.c.status,
            type_coerce(article.c.published_at, ReadableMoment()),
            channel.c.slug,
            article.c.title,
            published.label("published"),
        )
        .join(channel, channel.c.id == article.c.channel_id)
        .where(~_is_deleted())
        .order_by(article.c.published_at.desc(), article.c.id.desc())
        .limit(limit + 1)
    )
    if not is_every_channel(channel_id):
        query = query.where(article.c.channel_id == channel_id)
    if status is not None:
        query = query.where(article.c.status == status)
    if origin_id is not None:
        query = query.where(article.c.origin_id == origin_id)
    if by is not None:
        query = query.join(author, author.c.id == article.c.author_id).where(author.c.name == by)
    if text is not None:
        query = query.where(
            article.c.title.icontains(text, autoescape=True)
            | article.c.summary.icontains(text, autoescape=True)
        )
    if after is not None:
        at = type_coerce(article.c.published_at, NullType())
        said = literal(after.published, NullType())
        query = query.where((at < said) | ((at == said) & (article.c.id < after.article_id)))
    rows = conn.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return ListPage(
        [Listed(*row[:-1]) for row in rows[:limit]],
        None if last is None else ListPlace(str(last.published), last.id),
    )


def read_record(conn: Connection, article_id: int) -> Record:
    """All of one article, whether readers see it or not.

    Raises:
        ArticleNotFoundError: there is none of this id.
    """
    query = (
        select(
            *(column for column in article.c if not isinstance(column.type, Moment)),
            channel.c.slug,
            author.c.name,
            *(article_count.c[name] for name in COUNTED),
            type_coerce(article.c.published_at, ReadableMoment()).label("published"),
            type_coerce(article.c.updated_at, ReadableMoment()).label("updated"),
            type_coerce(article.c.edited_at, ReadableMoment()).label("edited"),
        )
        .join(channel, channel.c.id == article.c.channel_id)
        .outerjoin(author, author.c.id == article.c.author_id)
        .outerjoin(article_count, article_count.c.article_id == article.c.id)
        .where(article.c.id == article_id, ~_is_deleted())
    )
    row = conn.execute(query).first()
    if row is None:
        raise ArticleNotFoundError(article_id)
    return Record(
        article_id=row.id,
        origin_id=row.origin_id,
        source_id=row.source_id,
        status=row.status,
        channel_id=row.channel_id,
        channel=row.slug,
        author=row.name,
        title=row.title,
        summary=row.summary,
        cover=row.cover,
        image=row.image,
        url=row.url,
        language=row.language,
        note=row.note,
        published_at=row.published,
        updated_at=row.updated,
        edited_at=row.edited,
        markdown=row.markdown,
        counts=msgspec.structs.asdict(make_counts(row)),
        body=row.body,
    )


def list_channels(conn: Connection) -> list[ChannelListed]:
    """Every channel in the order of its id."""
    query = (
        select(channel.c.id, channel.c.slug, channel.c.name, func.count(article.c.id))
        .outerjoin(article, article.c.channel_id == channel.c.id)
        .where(channel.c.merged_into.is_(None))
        .group_by(channel.c.id, channel.c.slug, channel.c.name)
        .order_by(channel.c.id)
    )
    return [ChannelListed(*row) for row in conn.execute(query)]


def has_articles(conn: Connection) -> bool:
    """True for a site that is not empty."""
    return conn.scalar(select(article.c.id).limit(1)) is not None


def _is_deleted() -> ColumnElement[bool]:
    """The condition for an article that an editor deleted and whose row is still there."""
    return exists().where(article_gone.c.source_id == article.c.source_id)
