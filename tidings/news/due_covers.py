"""Covers that have still to be fetched: which are due, and what became of each.

A row stands in the transaction that names a new cover, so none is forgotten, and goes with what
became of it. Until then, and for ever where a picture cannot be had, readers load it from where its
source keeps it. Rejected: fetching while an article is stored or shown; a stranger's server would
decide how long that takes.

    for due in find_due_covers(conn, now, limit=100):
        due.url
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from tidings.news.tables import article, cover_due
from tidings.store.engine import database_now

# Five minutes, half an hour, three hours, most of a day: a server that is away is back by then, and
# a picture that is not there then never will be.
PAUSES = tuple(timedelta(minutes=5 * 6**tries) for tries in range(4))


class DueCover(NamedTuple):
    """A cover to be fetched; `tries` is how often that failed."""

    article_id: int
    url: str
    tries: int


def find_due_covers(conn: Connection, now: datetime, *, limit: int) -> list[DueCover]:
    """Those that are due, the longest due first."""
    query = (
        select(cover_due.c.article_id, article.c.cover, cover_due.c.tries)
        .join(article, article.c.id == cover_due.c.article_id)
        .where(cover_due.c.due_at <= now)
        .order_by(cover_due.c.due_at, cover_due.c.article_id)
        .limit(limit)
    )
    return [DueCover(row.article_id, row.cover or "", row.tries) for row in conn.execute(query)]


def keep_cover(conn: Connection, due: DueCover, digest: str) -> bool:
    """Show the picture that is kept here as the article's cover; False if the article has another
    cover by now, or is gone.

    Args:
        conn: in a transaction of the caller's, which has recorded the picture.
        due: the cover that was fetched.
        digest: of the picture.
    """
    changed = conn.execute(
        update(article)
        .where(article.c.id == due.article_id, article.c.cover == due.url)
        .values(image=digest, updated_at=database_now(conn))
    )
    if changed.rowcount:
        give_up_cover(conn, due)
    return bool(changed.rowcount)


def give_up_cover(conn: Connection, due: DueCover) -> None:
    """Leave the cover where its source keeps it."""
    conn.execute(delete(cover_due).where(cover_due.c.article_id == due.article_id))


def retry_cover(conn: Connection, due: DueCover, now: datetime) -> bool:
    """Try again later; False if it was tried often enough."""
    if due.tries >= len(PAUSES):
        give_up_cover(conn, due)
        return False
    values = {"due_at": now + PAUSES[due.tries], "tries": due.tries + 1}
    conn.execute(update(cover_due).where(cover_due.c.article_id == due.article_id).values(**values))
    return True


def postpone_covers(conn: Connection, article_ids: Collection[int], until: datetime) -> None:
    """Let these wait without a try."""
    conn.execute(
        update(cover_due).where(cover_due.c.article_id.in_(article_ids)).values(due_at=until)
    )
