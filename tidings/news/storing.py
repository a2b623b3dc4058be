"""How an article is stored: what identifies it, what its columns hold, which articles stand there
already, and what is new or different about one.

An importer decides what to write; only here is it written. An article belongs to the source that
delivers it, and its identity says which: what one source calls an article never finds another's.
What exists is read and compared rather than upserted, since the databases' own upserts burn an id
for every row that exists and cannot say which rows they changed.

    with transaction(engine) as conn:
        stored = find_stored(conn, ["demo:1"])
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Row,
    Select,
    String,
    delete,
    insert,
    select,
    type_coerce,
    update,
)

from tidings.news.counts import create_counts
from tidings.news.numbering import take_numbers
from tidings.news.tables import article, article_gone, author, channel, cover_due
from tidings.news.visibility import PUBLISHED, SCHEDULED
from tidings.store.engine import database_now
from tidings.store.metadata import ReadableMoment

# The two sources that every site has: what is brought in as a file, and what editors write.
FILE_ORIGIN = 1
EDITOR_ORIGIN = 2
# What a source changes without a change that readers could see.
_UNSEEN = frozenset({"source_id", "origin_id", "revised_at"})


class Lengths(NamedTuple):
    """How many characters a field of an article may have."""

    source_id: int
    channel_slug: int
    channel_name: int
    author: int
    title: int
    summary: int
    cover: int
    url: int


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says of an article.

    Attributes:
        source_id: identifies it; from `make_identity`.
        origin_id: the source.
        body: sanitised HTML.
        language: a BCP 47 tag; None where the source does not say.
        published_at: None where the source does not say.
        revised_at: when the source last changed it; None where the source does not say.
    """

    source_id: str
    origin_id: int = FILE_ORIGIN
    channel_id: int
    author_id: int | None
    title: str
    summary: str
    body: str
    cover: str | None
    url: str | None
    language: str | None = None
    published_at: datetime | None
    revised_at: datetime | None = None


class Stored(NamedTuple):
    """An article as it stands in the database. Since `edited_at` it is an editor's."""

    article_id: int
    status: str
    edited_at: datetime | None
    content: Content


def make_identity(origin_id: int, own: str) -> str:
    """What identifies the article that a source calls `own`.

    A file's articles keep the key that the file gives them, as all did before there were sources;
    no such key holds a tab, so no other source can make one.
    """
    prefix = "" if origin_id == FILE_ORIGIN else f"{origin_id}\t"
    identity = prefix + own
    if len(identity) <= LENGTHS.source_id:
        return identity
    return f"{prefix}sha256:{hashlib.sha256(own.encode()).hexdigest()}"


def find_stored(conn: Connection, source_ids: Sequence[str]) -> dict[str, Stored]:
    """Source id → the article, for those that exist."""
    query = _select_stored().where(article.c.source_id.in_(source_ids))
    return {row.source_id: _stored(row) for row in conn.execute(query)}


def find_by_url(conn: Connection, origin_id: int, urls: Collection[str]) -> dict[str, Stored]:
    """Address → the article of this source that has it; none where several have it."""
    if not urls:
        return {}
    query = _select_stored().where(article.c.origin_id == origin_id, article.c.url.in_(list(urls)))
    found: dict[str, list[Stored]] = {}
    for row in conn.execute(query):
        # Compared here again: to MariaDB addresses that differ in case are the same.
        if row.url in urls:
            found.setdefault(row.url, []).append(_stored(row))
    return {url: stored[0] for url, stored in found.items() if len(stored) == 1}


def find_gone(conn: Connection, source_ids: Collection[str]) -> set[str]:
    """Those of these source ids that an editor has deleted."""
    query = select(article_gone.c.source_id)
    return set(conn.scalars(query.where(article_gone.c.source_id.in_(list(source_ids)))))


def find_ids(conn: Connection, source_ids: Sequence[str]) -> list[int]:
    """The ids of those articles that exist."""
    query = select(article.c.id).where(article.c.source_id.in_(source_ids))
    return list(conn.scalars(query.order_by(article.c.id)))


def is_stored(conn: Connection, source_id: str) -> bool:
    """True if there is an article of this source id."""
    return conn.scalar(select(article.c.id).where(article.c.source_id == source_id)) is not None


def read_database_clock(conn: Connection) -> datetime:
    """Now, by the clock that all writers share."""
    now: datetime = conn.execute(select(database_now(conn))).scalar_one()
    return now


def add_articles(
    conn: Connection, new: Sequence[Content], *, published_at: datetime, updated_at: datetime
) -> dict[str, int]:
    """Store articles that do not exist yet, published; returns source id → id.

    Args:
        conn: in a transaction of the caller's.
        new: no two of one source id.
        published_at: for those whose source does not say.
        updated_at: by `read_database_clock`, so that a process that follows it misses none.

    Raises:
        IntegrityError: another transaction stored one of them meanwhile; run this one again.
    """
    if not new:
        return {}
    rows = [
        number
        | msgspec.structs.asdict(content)
        | {
            "published_at": content.published_at or published_at,
            "status": PUBLISHED,
            "updated_at": updated_at,
        }
        for number, content in zip(take_numbers(conn, len(new)), new, strict=True)
    ]
    conn.execute(insert(article), rows)
    source_ids = [content.source_id for content in new]
    query = select(article.c.source_id, article.c.id)
    found = conn.execute(query.where(article.c.source_id.in_(source_ids)))
    ids = {row.source_id: row.id for row in found}
    create_counts(conn, [ids[source_id] for source_id in source_ids])
    _want_covers(conn, [ids[content.source_id] for content in new if content.cover], updated_at)
    return ids


def change_article(
    conn: Connection, stored: Stored, content: Content, *, updated_at: datetime
) -> bool:
    """Make a stored article what its source says now; False if readers see no difference.

    `updated_at` moves only for a change that readers can see. Where the source does not say when
    the article was published, or an editor has set its hour, the moment stays. What an editor has
    edited is the editor's: of that only the identity follows the source, and what is older than
    what is stored changes nothing.
    """
    changes = {
        name: value
        for name in Content.__struct_fields__
        if (value := getattr(content, name)) != getattr(stored.content, name)
    }
    if content.published_at is None or stored.status == SCHEDULED:
        changes.pop("published_at", None)
    if content.revised_at is None:
        changes.pop("revised_at", None)
    if stored.edited_at is not None or _is_older(content, stored.content):
        changes = {name: changes[name] for name in ("source_id", "origin_id") if name in changes}
    is_seen = not changes.keys() <= _UNSEEN
    if changes:
        if "cover" in changes:
            changes["image"] = None
        stamp = {"updated_at": updated_at} if is_seen else {}
        conn.execute(
            update(article).where(article.c.id == stored.article_id).values(**changes, **stamp)
        )
    if changes.get("cover"):
        _want_covers(conn, [stored.article_id], updated_at)
    return is_seen


def _is_older(content: Content, stored: Content) -> bool:
    revised, known = content.revised_at, stored.revised_at
    return revised is not None and known is not None and revised < known


def _want_covers(conn: Connection, article_ids: Sequence[int], due_at: datetime) -> None:
    """Have the covers of these articles fetched, in the same transaction as they are named."""
    if not article_ids:
        return
    conn.execute(delete(cover_due).where(cover_due.c.article_id.in_(article_ids)))
    conn.execute(insert(cover_due), [{"article_id": id_, "due_at": due_at} for id_ in article_ids])


def _select_stored() -> Select[Any]:
    # A publication that is no date is told as None, so that the next import mends it.
    published_at = type_coerce(article.c.published_at, ReadableMoment()).label("published_at")
    columns = [
        published_at if name == "published_at" else article.c[name]
        for name in Content.__struct_fields__
    ]
    return select(article.c.id, article.c.status, article.c.edited_at, *columns)


def _stored(row: Row[Any]) -> Stored:
    content = Content(**{name: getattr(row, name) for name in Content.__struct_fields__})
    return Stored(article_id=row.id, status=row.status, edited_at=row.edited_at, content=content)


def _length(column: Column[str] | Column[str | None]) -> int:
    assert isinstance(column.type, String)
    assert column.type.length is not None
    return column.type.length


LENGTHS = Lengths(
    source_id=_length(article.c.source_id),
    channel_slug=_length(channel.c.slug),
    channel_name=_length(channel.c.name),
    author=_length(author.c.name),
    title=_length(article.c.title),
    summary=_length(article.c.summary),
    cover=_length(article.c.cover),
    url=_length(article.c.url),
)
