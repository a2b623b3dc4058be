"""How often readers did what with an article: a row of counters beside each article, kept apart
from it so that counting never locks or rewrites the row that every reader reads.

`tidings.reading` knows what a reader did and adds it here; this module knows the counters. They are
corrected by a job, so a counter may be wrong for an hour and never for good.

    with transaction(engine) as conn:
        add_counts(conn, {42: {"click": 1}})
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, insert, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import IntegrityError

from tidings.news.counted import COUNTED, Counts
from tidings.news.tables import article, article_count


def make_counts(row: Row[*tuple[Any, ...]]) -> Counts:
    """The counters of a row that has their columns; 0 where the article has none yet."""
    return Counts(*[getattr(row, name) or 0 for name in COUNTED])


def create_counts(conn: Connection, article_ids: Collection[int]) -> None:
    """Counters for new articles, all at 0."""
    if article_ids:
        conn.execute(insert(article_count), [{"article_id": id_} for id_ in article_ids])


def add_counts(conn: Connection, added: Mapping[int, Mapping[str, int]]) -> None:
    """Add to the counters of articles that exist.

    Args:
        conn: in a transaction of the caller's.
        added: article id → counter → how much; a counter that is not named stays.
    """
    # In id order, so that two transactions lock the same counters in the same order.
    values = [
        {"article_id": id_, **{name: added[id_].get(name, 0) for name in COUNTED}}
        for id_ in sorted(added)
    ]
    if not values:
        return
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(article_count)
        sums = {name: article_count.c[name] + lite.excluded[name] for name in COUNTED}
        conn.execute(lite.on_conflict_do_update(index_elements=["article_id"], set_=sums), values)
    else:
        my = mysql.insert(article_count)
        sums = {name: article_count.c[name] + my.inserted[name] for name in COUNTED}
        conn.execute(my.on_duplicate_key_update(sums), values)


def read_counts(conn: Connection, published_since: datetime) -> dict[int, dict[str, int]]:
    """Article id → its counters, for what was published since then. An article that was never
    counted has zeros."""
    query = (
        select(article.c.id, *(article_count.c[name] for name in COUNTED))
        .outerjoin(article_count, article_count.c.article_id == article.c.id)
        .where(article.c.published_at >= published_since)
    )
    return {
        row.id: {name: getattr(row, name) or 0 for name in COUNTED} for row in conn.execute(query)
    }


def lock_counts(conn: Connection, article_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Article id → its counters, which cannot change until the transaction ends.

    An article without counters gets them first. Locked in id order.
    """
    _create_missing(conn, article_ids)
    ids = article_count.c.article_id
    query = select(article_count).where(ids.in_(article_ids)).order_by(ids).with_for_update()
    return {
        row.article_id: {name: getattr(row, name) for name in COUNTED}
        for row in conn.execute(query).all()
    }


def set_counts(conn: Connection, article_id: int, counts: Mapping[str, int]) -> None:
    """Correct an article's counters."""
    conn.execute(
        update(article_count).where(article_count.c.article_id == article_id).values(dict(counts))
    )


def _create_missing(conn: Connection, article_ids: Collection[int]) -> None:
    has_counts = exists().where(article_count.c.article_id == article.c.id)
    query = select(article.c.id).where(article.c.id.in_(article_ids), ~has_counts)
    for article_id in conn.scalars(query).all():
        try:
            with conn.begin_nested():
                create_counts(conn, [article_id])
        except IntegrityError:
            continue  # Another transaction counted its first act just now.
