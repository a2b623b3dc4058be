"""Writes articles in batches, each batch one transaction, so that an import run twice or twice at
once is one import.

What exists is read, compared and updated only where it differs: `updated_at` moves for a change
that readers can see, and counts and take-downs are not the importer's to touch. Rejected: the
databases' own upserts, which differ between SQLite and MySQL, burn an id for every row that exists,
and cannot say which rows they changed.

    write_articles(engine, [make_article(row)], now).created  # (1,)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from tidings.importing.rows import NewArticle
from tidings.news.authors import ensure_authors
from tidings.news.channels import ensure_channels
from tidings.news.storing import (
    Content,
    add_articles,
    change_article,
    find_stored,
    read_database_clock,
)
from tidings.store.engine import transaction
from tidings.store.retry import is_overtaken, run_again


@dataclass(frozen=True, slots=True)
class Written:
    """The ids of the articles of one batch, by what happened to them."""

    created: tuple[int, ...]
    updated: tuple[int, ...]
    unchanged: tuple[int, ...]


def write_articles(engine: Engine, articles: Sequence[NewArticle], now: datetime) -> Written:
    """Store a batch of articles, no two of them with the same source id, in one transaction.

    A batch that meets another import at the same rows is written again from the start, a few times.

    Args:
        engine: the database.
        articles: what to store.
        now: the publication of what is new and does not say when it was published.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed, or was in the way every time.
    """

    def write() -> Written:
        with transaction(engine) as conn:
            return _write(conn, articles, now)

    return run_again(write, passes=is_overtaken)


def _write(conn: Connection, articles: Sequence[NewArticle], now: datetime) -> Written:
    # The database's clock, which all writers share: a process that follows `updated_at` must not
    # miss these.
    updated_at = read_database_clock(conn)
    channels = ensure_channels(conn, {a.channel_slug: a.channel_name for a in articles})
    authors = ensure_authors(conn, {a.author for a in articles if a.author})
    stored = find_stored(conn, [a.source_id for a in articles])
    new: list[Content] = []
    updated: list[int] = []
    unchanged: list[int] = []
    for a in articles:
        content = Content(
            source_id=a.source_id,
            channel_id=channels[a.channel_slug],
            author_id=authors[a.author] if a.author else None,
            title=a.title,
            summary=a.summary,
            body=a.body,
            cover=a.cover,
            url=a.url,
            published_at=a.published_at,
        )
        known = stored.get(a.source_id)
        if known is None:
            new.append(content)
        elif change_article(conn, known, content, updated_at=updated_at):
            updated.append(known.article_id)
        else:
            unchanged.append(known.article_id)
    created = add_articles(conn, new, published_at=now, updated_at=updated_at)
    return Written(
        created=tuple(created[content.source_id] for content in new),
        updated=tuple(updated),
        unchanged=tuple(unchanged),
    )
