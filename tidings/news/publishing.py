"""The changes of what readers see: submitted, published, set for a later moment, taken down,
restored.

Each is a function in the caller's transaction, stamps the article by the clock that all writers
share, and has the caches follow once that transaction has committed: what is hidden is buried, what
is shown is loaded anew. So no change of visibility can leave a cache behind. A later moment is kept
by a delayed job rather than by every query comparing the hour, so that what follows from an
article's appearing (recall, rankings, static files) sees one change of status.

    with transaction(engine) as conn:
        take_down(conn, 42, articles)
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select, update

from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.tables import article
from tidings.news.visibility import (
    DRAFT,
    IN_REVIEW,
    PUBLISHED,
    SCHEDULED,
    TAKEN_DOWN,
    is_published,
)
from tidings.store import delayed
from tidings.store.engine import database_now

PUBLISH_ARTICLE = "publish_article"


def publish(conn: Connection, article_id: int, articles: Articles) -> None:
    """Show an article now, whether it is a draft, was taken down or waits for its hour; nothing
    where it is out.

    Raises:
        ArticleNotFoundError: there is no such article.
    """
    now = database_now(conn)
    delayed.cancel(conn, PUBLISH_ARTICLE, ref=article_id)
    # Read apart: MySQL lets an UPDATE see the status that it sets itself.
    status = conn.scalar(select(article.c.status).where(article.c.id == article_id))
    # What was out before keeps its moment, so that it does not jump to the top.
    keeps = case((article.c.published_at > now, now), else_=article.c.published_at)
    at = now if status in (DRAFT, IN_REVIEW) else keeps
    is_out = is_published() & (article.c.published_at <= now)
    _change(conn, article_id, ~is_out, status=PUBLISHED, published_at=at)
    articles.forget_after(conn, [article_id])


def submit(conn: Connection, article_id: int) -> bool:
    """Have a draft reviewed; False if it is none."""
    return _change(conn, article_id, article.c.status == DRAFT, status=IN_REVIEW)


def send_back(conn: Connection, article_id: int) -> bool:
    """Make what was submitted a draft again; False if it was not."""
    return _change(conn, article_id, article.c.status == IN_REVIEW, status=DRAFT)


def schedule_publication(
    conn: Connection, article_id: int, run_at: datetime, articles: Articles
) -> None:
    """Hide the article until `run_at`; a second call moves the hour.

    Raises:
        ArticleNotFoundError: there is no such article.
    """
    # The job's row before the article's, as the daemon takes them: two that lock in different
    # orders wait for each other.
    if not delayed.reschedule_at(conn, PUBLISH_ARTICLE, ref=article_id, run_at=run_at):
        delayed.schedule_at(conn, PUBLISH_ARTICLE, ref=article_id, run_at=run_at)
    _change(conn, article_id, status=SCHEDULED, published_at=run_at)
    articles.bury_after(conn, [article_id])


def publish_due(conn: Connection, article_ids: Collection[int], articles: Articles) -> list[int]:
    """Show those of these articles that still wait for their hour; returns which."""
    waits = (article.c.id.in_(sorted(article_ids)), article.c.status == SCHEDULED)
    query = select(article.c.id).where(*waits).order_by(article.c.id).with_for_update()
    shown = list(conn.scalars(query))
    conn.execute(
        update(article)
        .where(article.c.id.in_(shown))
        .values(status=PUBLISHED, updated_at=database_now(conn))
    )
    articles.forget_after(conn, article_ids)
    return shown


def take_down(conn: Connection, article_id: int, articles: Articles) -> None:
    """Show the article nowhere any more: at once from the cache, within seconds from every feed.

    Raises:
        ArticleNotFoundError: there is no such article.
    """
    delayed.cancel(conn, PUBLISH_ARTICLE, ref=article_id)
    _change(conn, article_id, status=TAKEN_DOWN)
    articles.bury_after(conn, [article_id])


def restore(conn: Connection, article_id: int, articles: Articles) -> bool:
    """Show again what was taken down; False if it was not.

    Raises:
        ArticleNotFoundError: there is no such article.
    """
    changed = _change(conn, article_id, article.c.status == TAKEN_DOWN, status=PUBLISHED)
    articles.forget_after(conn, [article_id])
    return changed


def _change(conn: Connection, article_id: int, *where: ColumnElement[bool], **values: Any) -> bool:
    """True if the article meets the conditions and was changed."""
    changed = conn.execute(
        update(article)
        .where(article.c.id == article_id, *where)
        # The database's clock, which all writers share: a process that follows `updated_at` must
        # not miss this change.
        .values(**values, updated_at=database_now(conn))
    )
    if changed.rowcount:
        return True
    if conn.scalar(select(article.c.id).where(article.c.id == article_id)) is None:
        raise ArticleNotFoundError(article_id)
    return False
