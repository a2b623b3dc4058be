"""What editors write into an article: new ones, which no reader sees yet, and changes by hand.

An import compares many rows with what is stored; here is one article under its lock, so that of two
editors the second sees what the first one did. From the first change by hand on an article is its
editor's, and its source changes it no more. Rejected: the functions of an import with an option;
they must never touch what these must always touch.

    with transaction(engine) as conn:
        lock_article(conn, 42)
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, exists, insert, select, update

from tidings.news.articles import ArticleNotFoundError
from tidings.news.authors import ensure_authors
from tidings.news.counts import create_counts
from tidings.news.numbering import take_numbers
from tidings.news.publishing import PUBLISH_ARTICLE
from tidings.news.tables import article, article_gone, cover_due
from tidings.news.visibility import DRAFT
from tidings.store import delayed
from tidings.store.engine import database_now


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What an editor writes of an article.

    Attributes:
        author: a name, which is made an author's if it is none yet.
        body: sanitised HTML.
        markdown: what the body was made of; None where it was HTML.
        cover: an address.
        image: SHA-256 of the cover that is kept here; None where it has still to be fetched.
    """

    title: str
    summary: str
    author: str | None
    body: str
    markdown: str | None
    cover: str | None
    image: str | None
    url: str | None
    language: str | None


def lock_article(conn: Connection, article_id: int) -> None:
    """Have all others who change this article wait until the transaction ends.

    Raises:
        ArticleNotFoundError: there is none of this id, or an editor deleted it.
    """
    # The promise of its publication before itself, as the daemon takes them: two that lock in
    # different orders wait for each other.
    delayed.lock(conn, PUBLISH_ARTICLE, ref=article_id)
    query = select(article.c.source_id).where(article.c.id == article_id).with_for_update()
    source_id = conn.scalar(query)
    if source_id is None or _is_gone(conn, source_id):
        raise ArticleNotFoundError(article_id)


def find_own(conn: Connection, source_id: str) -> int | None:
    """The number of the article of this identity; None where there is none.

    Raises:
        ArticleNotFoundError: an editor deleted it.
    """
    found = conn.scalar(select(article.c.id).where(article.c.source_id == source_id))
    if _is_gone(conn, source_id):
        raise ArticleNotFoundError(found or 0)
    return found


def add_draft(
    conn: Connection, written: Written, *, channel_id: int, origin_id: int, source_id: str
) -> int:
    """Store a new article that no reader sees; returns its number.

    Raises:
        IntegrityError: another transaction stored one of this identity; run this one again.
    """
    now = database_now(conn)
    (number,) = take_numbers(conn, 1)
    stored = conn.execute(
        insert(article).values(
            **number,
            **_columns(conn, written),
            channel_id=channel_id,
            origin_id=origin_id,
            source_id=source_id,
            status=DRAFT,
            published_at=now,
            updated_at=now,
            edited_at=now,
        )
    )
    assert stored.inserted_primary_key is not None
    article_id = int(stored.inserted_primary_key[0])
    create_counts(conn, [article_id])
    _want_cover(conn, article_id, written)
    return article_id


def rewrite(conn: Connection, article_id: int, written: Written, *, channel_id: int) -> None:
    """Make an article what its editor wrote. It is the editor's from now on."""
    now = database_now(conn)
    conn.execute(
        update(article)
        .where(article.c.id == article_id)
        .values(**_columns(conn, written), channel_id=channel_id, updated_at=now, edited_at=now)
    )
    _want_cover(conn, article_id, written)


def set_note(conn: Connection, article_id: int, note: str | None) -> None:
    """Keep what the reviewer said."""
    conn.execute(update(article).where(article.c.id == article_id).values(note=note))


def move_all(conn: Connection, channel_id: int, into: int) -> list[int]:
    """Have every article of a channel stand in another; returns their numbers."""
    query = select(article.c.id).where(article.c.channel_id == channel_id).with_for_update()
    moved = list(conn.scalars(query))
    conn.execute(
        update(article)
        .where(article.c.channel_id == channel_id)
        .values(channel_id=into, updated_at=database_now(conn))
    )
    return moved


def _columns(conn: Connection, written: Written) -> dict[str, object]:
    values = msgspec.structs.asdict(written)
    name = values.pop("author")
    return values | {"author_id": ensure_authors(conn, {name})[name] if name else None}


def _is_gone(conn: Connection, source_id: str) -> bool:
    return bool(conn.scalar(select(exists().where(article_gone.c.source_id == source_id))))


def _want_cover(conn: Connection, article_id: int, written: Written) -> None:
    """Have the cover fetched, unless it is kept here already."""
    conn.execute(delete(cover_due).where(cover_due.c.article_id == article_id))
    if written.cover and not written.image:
        due = {"article_id": article_id, "due_at": database_now(conn)}
        conn.execute(insert(cover_due).values(due))
