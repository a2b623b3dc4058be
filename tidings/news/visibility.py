"""What readers may see: the one condition that every list, card, ranking and file asks in SQL.

An article is visible while its status is `published` and its moment has come. `publishing` changes
the status; no other module writes it, and none writes this condition a second time. Rejected: a
column `visible`; it would have to be kept in step with the clock.

    with engine.connect() as conn:
        newest_ids(conn, now=moment(now_ms()), limit=20)
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select

from tidings.news.channels import FOR_YOU, is_every_channel
from tidings.news.tables import article

DRAFT = "draft"
IN_REVIEW = "in_review"
SCHEDULED = "scheduled"
PUBLISHED = "published"
TAKEN_DOWN = "taken_down"
STATUSES = (DRAFT, IN_REVIEW, SCHEDULED, PUBLISHED, TAKEN_DOWN)


def is_published() -> ColumnElement[bool]:
    """The condition for an article that is out, or will be as soon as its moment has come."""
    return article.c.status == PUBLISHED


def is_visible(now: datetime) -> ColumnElement[bool]:
    """The condition for an article that readers may see at `now`."""
    return is_published() & (article.c.published_at <= now)


def visible_ids(
    conn: Connection,
    ids: Collection[int],
    *,
    now: datetime,
    channel_id: int = FOR_YOU.channel_id,
) -> set[int]:
    """Those of these articles that stand in the channel and may be seen at `now`."""
    query = select(article.c.id).where(
        article.c.id.in_(ids), is_visible(now), *_of_channel(channel_id)
    )
    return set(conn.scalars(query))


def newest_ids(
    conn: Connection, *, now: datetime, limit: int, channel_id: int = FOR_YOU.channel_id
) -> list[int]:
    """The channel's newest articles that may be seen at `now`, newest first."""
    query = (
        select(article.c.id)
        .where(is_visible(now), *_of_channel(channel_id))
        .order_by(article.c.published_at.desc(), article.c.id.desc())
        .limit(limit)
    )
    return list(conn.scalars(query))


def count_published(conn: Connection, since: datetime, until: datetime, *, most: int) -> int:
    """How many articles that may be seen came out between these moments, counted up to `most`."""
    came = select(article.c.id).where(is_visible(until), article.c.published_at > since)
    return int(conn.scalar(select(func.count()).select_from(came.limit(most).subquery())) or 0)


def _of_channel(channel_id: int) -> list[ColumnElement[bool]]:
    return [] if is_every_channel(channel_id) else [article.c.channel_id == channel_id]
