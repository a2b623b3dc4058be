"""Articles that are deleted, with their counters, and with the authors that nothing is left of.

Readers see no more of a deleted article at once; its row goes a little later, since processes that
keep articles in memory follow changes, and a row that is gone is no change. What identifies it is
kept, so that its source does not bring it back. What readers did with it stays in the books.
Rejected: to wait in the request.

    with transaction(engine) as conn:
        delete_later(conn, 42, articles)
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, exists, insert, select, update

from tidings.news.articles import Articles
from tidings.news.channels import DELETED
from tidings.news.numbering import keep_numbers
from tidings.news.publishing import PUBLISH_ARTICLE, take_down
from tidings.news.tables import article, article_count, article_gone, author, channel
from tidings.store import delayed
from tidings.store.engine import database_now

DELETE_ARTICLE = "delete_article"
# For running processes to let go of the article: several times as long as a catalogue takes.
LET_GO_S = 5.0
CHUNK = 500


def delete_later(conn: Connection, article_id: int, articles: Articles) -> None:
    """Delete an article: at once for readers and editors, and its row in LET_GO_S seconds.

    Args:
        conn: in a transaction that has locked it.
    """
    take_down(conn, article_id, articles)
    source_id = select(article.c.source_id, database_now(conn)).where(article.c.id == article_id)
    conn.execute(insert(article_gone).from_select(["source_id", "at"], source_id))
    delayed.schedule(conn, DELETE_ARTICLE, ref=article_id, after_s=LET_GO_S)


def delete_articles(conn: Connection, ids: Collection[int], articles: Articles) -> set[int]:
    """Delete these articles with the promises of their publication, and the authors of theirs that
    have no other; returns the channels in which they stood."""
    in_order = sorted(ids)
    keep_numbers(conn, in_order)
    channel_ids: set[int] = set()
    for start in range(0, len(in_order), CHUNK):
        chunk = in_order[start : start + CHUNK]
        mine = article.c.id.in_(chunk)
        of = conn.execute(select(article.c.channel_id, article.c.author_id).where(mine)).all()
        delayed.cancel_all(conn, PUBLISH_ARTICLE, refs=chunk)
        conn.execute(delete(article_count).where(article_count.c.article_id.in_(chunk)))
        conn.execute(delete(article).where(mine))
        authors = {row.author_id for row in of if row.author_id}
        is_used = exists().where(article.c.author_id == author.c.id)
        conn.execute(delete(author).where(author.c.id.in_(authors), ~is_used))
        channel_ids |= {row.channel_id for row in of}
    articles.bury_after(conn, in_order)
    return channel_ids


def close_empty_channels(conn: Connection, ids: Collection[int]) -> None:
    """Have those of these channels be none any more in which no article stands, and into which
    none was merged. Their rows stay: a reader who hid one must not miss a later one."""
    other = channel.alias()
    goes_on = exists().where(other.c.merged_into == channel.c.id)
    is_used = exists().where(article.c.channel_id == channel.c.id)
    wanted = channel.c.id.in_(sorted(ids))
    # An import locks the channel of what it stores: the look waits for it, and sees the article.
    conn.execute(select(channel.c.id).where(wanted).order_by(channel.c.id).with_for_update())
    query = select(channel.c.id).where(wanted, ~is_used, ~goes_on)
    # Read apart: MySQL changes no table that the same statement reads.
    empty = channel.c.id.in_(list(conn.scalars(query)))
    conn.execute(update(channel).where(empty).values(merged_into=DELETED))
