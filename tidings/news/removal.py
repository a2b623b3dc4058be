"""Articles that are deleted: with their counters, and with the channels and authors that nothing is
left of.

A take-down keeps the row, so that it can be undone and that every process sees a change; deleting
is for what should never have been there. Take an article down first and delete it seconds later, or
a process that keeps articles in memory finds out only when its sweep comes by.

    with transaction(engine) as conn:
        delete_articles(conn, [42], articles)
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Table, delete, exists, select

from tidings.news.articles import Articles
from tidings.news.publishing import PUBLISH_ARTICLE
from tidings.news.tables import article, article_count, author, channel
from tidings.store import delayed

CHUNK = 500


def delete_articles(conn: Connection, ids: Collection[int], articles: Articles) -> None:
    """Delete these articles with the promises of their publication, and the channels and authors
    of theirs that have no other."""
    in_order = sorted(ids)
    for start in range(0, len(in_order), CHUNK):
        chunk = in_order[start : start + CHUNK]
        mine = article.c.id.in_(chunk)
        of = conn.execute(select(article.c.channel_id, article.c.author_id).where(mine)).all()
        delayed.cancel_all(conn, PUBLISH_ARTICLE, refs=chunk)
        conn.execute(delete(article_count).where(article_count.c.article_id.in_(chunk)))
        conn.execute(delete(article).where(mine))
        _delete_unused(conn, channel, "channel_id", {row.channel_id for row in of})
        _delete_unused(conn, author, "author_id", {row.author_id for row in of if row.author_id})
    articles.bury_after(conn, in_order)


def _delete_unused(conn: Connection, table: Table, column: str, ids: set[int]) -> None:
    is_used = exists().where(article.c[column] == table.c.id)
    conn.execute(delete(table).where(table.c.id.in_(ids), ~is_used))
