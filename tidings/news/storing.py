"""How an article is stored: what its columns hold, which articles stand there already, and what is
new or different about one.

An importer decides what to write; only here is it written. What exists is read and compared rather
than upserted, since the databases' own upserts burn an id for every row that exists and cannot say
which rows they changed.

    with transaction(engine) as conn:
        stored = find_stored(conn, ["demo:1"])
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Column, Connection, String, insert, select, type_coerce, update

from tidings.news.counts import create_counts
from tidings.news.tables import article, author, channel
from tidings.news.visibility import PUBLISHED, SCHEDULED
from tidings.store.engine import database_now
from tidings.store.metadata import ReadableMoment


class Lengths(NamedTuple):
    """How many characters a field of an article may have."""

    source_id: int
    channel_slug: int
    channel_name: int
    author: int
    title: int
    summary: int
    cover: int
    url: int


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says of an article. `body` is sanitised HTML; `published_at` is None where the
    source does not say."""

    source_id: str
    channel_id: int
    author_id: int | None
    title: str
    summary: str
    body: str
    cover: str | None
    url: str | None
    published_at: datetime | None


class Stored(NamedTuple):
    """An article as it stands in the database."""

    article_id: int
    status: str
    content: Content


def find_stored(conn: Connection, source_ids: Sequence[str]) -> dict[str, Stored]:
    """Source id → the article, for those that exist."""
    # A publication that is no date is told as None, so that the next import mends it.
    published_at = type_coerce(article.c.published_at, ReadableMoment()).label("published_at")
    columns = [
        published_at if name == "published_at" else article.c[name]
        for name in Content.__struct_fields__
    ]
    query = select(article.c.id, article.c.status, *columns)
    return {
        row.source_id: Stored(
            article_id=row.id,
            status=row.status,
            content=Content(**{name: getattr(row, name) for name in Content.__struct_fields__}),
        )
        for row in conn.execute(query.where(article.c.source_id.in_(source_ids)))
    }


def find_ids(conn: Connection, source_ids: Sequence[str]) -> list[int]:
    """The ids of those articles that exist."""
    query = select(article.c.id).where(article.c.source_id.in_(source_ids))
    return list(conn.scalars(query.order_by(article.c.id)))


def is_stored(conn: Connection, source_id: str) -> bool:
    """True if there is an article of this source id."""
    return conn.scalar(select(article.c.id).where(article.c.source_id == source_id)) is not None


def read_database_clock(conn: Connection) -> datetime:
    """Now, by the clock that all writers share."""
    now: datetime = conn.execute(select(database_now(conn))).scalar_one()
    return now


def add_articles(
    conn: Connection, new: Sequence[Content], *, published_at: datetime, updated_at: datetime
) -> dict[str, int]:
    """Store articles that do not exist yet, published; returns source id → id.

    Args:
        conn: in a transaction of the caller's.
        new: no two of one source id.
        published_at: for those whose source does not say.
        updated_at: by `read_database_clock`, so that a process that follows it misses none.

    Raises:
        IntegrityError: another transaction stored one of them meanwhile; run this one again.
    """
    if not new:
        return {}
    rows = [
        msgspec.structs.asdict(content)
        | {
            "published_at": content.published_at or published_at,
            "status": PUBLISHED,
            "updated_at": updated_at,
        }
        for content in new
    ]
    conn.execute(insert(article), rows)
    source_ids = [content.source_id for content in new]
    query = select(article.c.source_id, article.c.id)
    found = conn.execute(query.where(article.c.source_id.in_(source_ids)))
    ids = {row.source_id: row.id for row in found}
    create_counts(conn, [ids[source_id] for source_id in source_ids])
    return ids


def change_article(
    conn: Connection, stored: Stored, content: Content, *, updated_at: datetime
) -> bool:
    """Make a stored article what its source says now; False if it is that already.

    `updated_at` moves only for a change that readers can see. Where the source does not say when
    the article was published, or an editor has set its hour, the moment stays.
    """
    changes = {
        name: value
        for name in Content.__struct_fields__
        if (value := getattr(content, name)) != getattr(stored.content, name)
    }
    if content.published_at is None or stored.status == SCHEDULED:
        changes.pop("published_at", None)
    if not changes:
        return False
    conn.execute(
        update(article)
        .where(article.c.id == stored.article_id)
        .values(**changes, updated_at=updated_at)
    )
    return True


def _length(column: Column[str] | Column[str | None]) -> int:
    assert isinstance(column.type, String)
    assert column.type.length is not None
    return column.type.length


LENGTHS = Lengths(
    source_id=_length(article.c.source_id),
    channel_slug=_length(channel.c.slug),
    channel_name=_length(channel.c.name),
    author=_length(author.c.name),
    title=_length(article.c.title),
    summary=_length(article.c.summary),
    cover=_length(article.c.cover),
    url=_length(article.c.url),
)
