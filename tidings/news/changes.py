"""What changed of the articles since a moment, for a process that keeps them in memory.

The reader of changes walks the index on `updated_at` with a place that it was given, so that it
neither misses nor counts on a clock of its own. A row whose dates cannot be read is handed over
with None in their place: to set it aside is the caller's decision, and the others are not held up
by it.

    with engine.connect() as conn:
        rows = changed_after(conn, START, limit=5000)  # again from `rows[-1].place`
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, type_coerce

from tidings.news.tables import article
from tidings.news.visibility import PUBLISHED
from tidings.store.metadata import ReadableMoment, Unread


class Place(NamedTuple):
    """Between two changes. `updated_at` is as the database gives it, readable or not."""

    updated_at: Any
    article_id: int


class Change(NamedTuple):
    """An article as it stands now. A moment that cannot be read is None."""

    article_id: int
    channel_id: int
    author_id: int | None
    published_at: datetime | None
    is_published: bool
    updated_at: datetime | None
    place: Place


def place_at(moment: datetime) -> Place:
    """The place before every change of that moment and later ones."""
    return Place(updated_at=moment, article_id=0)


START = place_at(datetime.fromtimestamp(0, UTC))


def changed_after(conn: Connection, place: Place, *, limit: int) -> list[Change]:
    """Up to `limit` articles that changed after this place, in the order of their places."""
    at = type_coerce(article.c.updated_at, Unread())
    newer = (at > place.updated_at) | ((at == place.updated_at) & (article.c.id > place.article_id))
    query = (
        select(
            article.c.id,
            article.c.channel_id,
            article.c.author_id,
            type_coerce(article.c.published_at, ReadableMoment()).label("published_at"),
            article.c.status,
            type_coerce(article.c.updated_at, ReadableMoment()).label("updated_at"),
            at.label("place"),
        )
        .where(newer)
        .order_by(article.c.updated_at, article.c.id)
        .limit(limit)
    )
    return [
        Change(
            article_id=row.id,
            channel_id=row.channel_id,
            author_id=row.author_id,
            published_at=row.published_at,
            is_published=row.status == PUBLISHED,
            updated_at=row.updated_at,
            place=Place(updated_at=row.place, article_id=row.id),
        )
        for row in conn.execute(query)
    ]
