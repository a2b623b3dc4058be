"""The numbers of articles: none that was an article's is another's later.

Tokens, histories, saved articles and the books name an article by its number for as long as they
are kept. MariaDB counts on by itself; SQLite counts from the highest row that is there, so that it
would give the number of the newest article anew once its row is gone. Rejected: AUTOINCREMENT, for
which a site's whole table would be written anew.

    keep_numbers(conn, [42])
    take_numbers(conn, 2)  # [{"id": 43}, {"id": 44}]
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, insert, select

from tidings.news.tables import article, article_number


def keep_numbers(conn: Connection, ids: Collection[int]) -> None:
    """Have no later article get a number of these, whose rows are about to go."""
    if conn.dialect.name != "sqlite":
        return
    highest = max([_find_highest_gone(conn), *ids])
    conn.execute(delete(article_number))
    conn.execute(insert(article_number).values(highest=highest))


def take_numbers(conn: Connection, count: int) -> list[dict[str, int]]:
    """What the rows of so many new articles say of their numbers; nothing where the database
    counts by itself.

    Args:
        conn: in a transaction of the caller's, which on SQLite is the only one that writes.
    """
    if conn.dialect.name != "sqlite":
        return [{} for _ in range(count)]
    newest = conn.scalar(select(func.max(article.c.id))) or 0
    first = max(newest, _find_highest_gone(conn)) + 1
    return [{"id": first + place} for place in range(count)]


def _find_highest_gone(conn: Connection) -> int:
    return conn.scalar(select(func.max(article_number.c.highest))) or 0
