"""Writes articles in batches, each batch one transaction, so that an import run twice or twice at
once is one import.

What exists is read, compared and updated only where it differs: `updated_at` moves for a change
that readers can see, and counts and take-downs are not the importer's to touch. Rejected: the
databases' own upserts, which differ between SQLite and MySQL, burn an id for every row that exists,
and cannot say which rows they changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, insert, select, update

from tidings.importing.rows import NewArticle
from tidings.news.articles import PUBLISHED
from tidings.news.publishing import SCHEDULED
from tidings.news.tables import article, author, channel
from tidings.reading.tables import article_count
from tidings.store.engine import database_now, transaction
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


def is_stored(engine: Engine, source_id: str) -> bool:
    """True if there is an article of this source id."""
    with engine.connect() as conn:
        return conn.scalar(select(article.c.id).where(article.c.source_id == source_id)) is not None


def _write(conn: Connection, articles: Sequence[NewArticle], now: datetime) -> Written:
    # The database's clock, which all writers share: whoever follows `updated_at` must not miss
    # these.
    updated_at: datetime = conn.execute(select(database_now(conn))).scalar_one()
    channels = _ensure(
        conn, channel, "slug", [{"slug": a.channel_slug, "name": a.channel_name} for a in articles]
    )
    authors = _ensure(conn, author, "name", [{"name": a.author} for a in articles if a.author])
    query = select(article).where(article.c.source_id.in_([a.source_id for a in articles]))
    stored = {row.source_id: row for row in conn.execute(query)}
    new: list[dict[str, Any]] = []
    updated: list[int] = []
    unchanged: list[int] = []
    for a in articles:
        values = _values(a, channels, authors)
        row = stored.get(a.source_id)
        if row is None:
            new.append(
                {"published_at": now, **values, "status": PUBLISHED, "updated_at": updated_at}
            )
        elif changes := _changes(row, values):
            conn.execute(
                update(article)
                .where(article.c.id == row.id)
                .values(**changes, updated_at=updated_at)
            )
            updated.append(row.id)
        else:
            unchanged.append(row.id)
    return Written(_insert(conn, new), tuple(updated), tuple(unchanged))


def _ensure(
    conn: Connection, table: Table, key: str, wanted: Iterable[dict[str, str | None]]
) -> dict[str, int]:
    """Key → id of every wanted row of a small table, those that are missing created."""
    by_key = {str(values[key]): values for values in wanted}
    ids = _ids(conn, table, key, list(by_key))
    # In order, so that two imports wait for each other instead of dead-locking.
    if missing := [by_key[name] for name in sorted(by_key.keys() - ids.keys())]:
        conn.execute(insert(table), missing)
        ids = _ids(conn, table, key, list(by_key))
    return ids


def _ids(conn: Connection, table: Table, key: str, keys: Sequence[str]) -> dict[str, int]:
    if not keys:
        return {}
    found = conn.execute(select(table.c[key], table.c.id).where(table.c[key].in_(keys)))
    return {str(name): int(id_) for name, id_ in found}


def _values(a: NewArticle, channels: dict[str, int], authors: dict[str, int]) -> dict[str, Any]:
    """The columns that the source decides. An unknown publication is none of them."""
    values = asdict(a)
    values["channel_id"] = channels[values.pop("channel_slug")]
    del values["channel_name"]
    name = values.pop("author")
    values["author_id"] = authors[name] if name else None
    if a.published_at is None:
        del values["published_at"]
    return values


def _changes(row: Row[Any], values: dict[str, Any]) -> dict[str, Any]:
    changes = {column: value for column, value in values.items() if getattr(row, column) != value}
    if row.status == SCHEDULED:
        # An editor set the hour, and the job that will publish the article goes by that.
        changes.pop("published_at", None)
    return changes


def _insert(conn: Connection, new: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    if not new:
        return ()
    conn.execute(insert(article), new)
    ids = _ids(conn, article, "source_id", [values["source_id"] for values in new])
    created = tuple(ids[values["source_id"]] for values in new)
    conn.execute(insert(article_count), [{"article_id": id_} for id_ in created])
    return created
