"""Articles that appear at an hour set beforehand: hidden until then, published by a delayed job.

The job makes the change rather than every query comparing the hour, so that what follows from an
article's appearing (recall, rankings, pages) sees one change of status, as for any other article.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, update

from tidings.news.articles import PUBLISHED, ArticleNotFoundError
from tidings.news.tables import article
from tidings.store import delayed
from tidings.store.engine import database_now

PUBLISH_ARTICLE = "publish_article"
SCHEDULED = "scheduled"


def schedule_publication(conn: Connection, article_id: int, run_at: datetime) -> None:
    """Hide the article until `run_at`; a second call moves the hour.

    Raises:
        ArticleNotFoundError: there is no such article.
    """
    hidden = conn.execute(
        update(article)
        .where(article.c.id == article_id)
        .values(status=SCHEDULED, published_at=run_at, updated_at=database_now(conn))
    )
    if hidden.rowcount == 0:
        raise ArticleNotFoundError(article_id)
    if not delayed.reschedule_at(conn, PUBLISH_ARTICLE, ref=article_id, run_at=run_at):
        delayed.schedule_at(conn, PUBLISH_ARTICLE, ref=article_id, run_at=run_at)


def publish(conn: Connection, article_ids: Iterable[int]) -> int:
    """Show those of these articles that still wait for their hour; returns how many."""
    shown = conn.execute(
        update(article)
        .where(article.c.id.in_(sorted(article_ids)), article.c.status == SCHEDULED)
        .values(status=PUBLISHED, updated_at=database_now(conn))
    )
    return shown.rowcount
