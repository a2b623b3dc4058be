"""The articles in bulk, for a process that keeps them in memory: all of them once, and then what
changed.

Rows come as the driver gives them, so that one with a date that is none comes as well: to set it
aside is the caller's decision, and the others are not held up by it. Rejected: a datetime a cell;
a million of them take longer to make than to read.

    with engine.connect() as conn:
        rows = articles_after(conn, 0, limit=10_000)  # again from `rows[-1].id`
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.types import NullType

from tidings.news.tables import article, channel
from tidings.news.visibility import is_published
from tidings.process.clock import moment
from tidings.store.metadata import Moment

EPOCH = "1970-01-01"
# As many as change while a slow transaction is under way.
_MARKED = 500
# id, channel, author (0 for none), publication, whether it is published, last change. A moment is
# the text that SQLite holds, as bytes; the milliseconds since the epoch on MySQL and MariaDB, None
# where they read no date. Nothing is decoded, since text of another program's may be no UTF-8.
RawRow = Row[tuple[Any, Any, Any, Any, Any, Any]]


class Place(NamedTuple):
    """Between two changes; `updated` is a moment, or what a row says of its own."""

    updated: datetime | bytes | int
    article_id: int


def place_at(at: datetime) -> Place:
    """The place before every change of that moment and later ones."""
    return Place(updated=at, article_id=0)


def place_of(row: RawRow) -> Place:
    """The place after this row."""
    return Place(updated=row.updated, article_id=row.id)


def articles_after(conn: Connection, article_id: int, *, limit: int) -> Sequence[RawRow]:
    """Up to `limit` articles of higher ids, in the order of their ids."""
    query = _in_order_of_ids(conn.dialect.name)
    return conn.execute(query, {"last": article_id, "limit": limit}).all()


def changed_after(
    conn: Connection, place: Place, *, until: datetime, limit: int
) -> Sequence[RawRow]:
    """Up to `limit` articles that changed after this place, in the order of their places.

    Args:
        until: the latest stamp that is looked at.
    """
    updated, last = place
    if isinstance(updated, int):
        updated = moment(updated)
    if conn.dialect.name == "sqlite" and isinstance(updated, datetime):
        updated = str(Moment().process_bind_param(updated, conn.dialect)).encode()
    values = {"updated": updated, "last": last, "until": until, "limit": limit}
    return conn.execute(_in_order_of_changes(conn.dialect.name), values).all()


def read_mark(conn: Connection) -> str:
    """A short text that differs whenever a channel or one of the articles that changed last does.

    It tells of a change whose transaction was slower than a later one's, and of an article that
    was deleted soon after it changed.
    """
    parts = [row for query in _marked(conn.dialect.name) for row in conn.execute(query)]
    return blake2b(repr(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


# Once a second, for as long as a process lives: to put such a query together takes as long as to
# run it.


@cache
def _marked(dialect: str) -> Sequence[Select[Any]]:
    mine = article.c
    newest = select(mine.id, mine.status, mine.image, _raw(dialect, mine.updated_at))
    newest = newest.order_by(mine.updated_at.desc(), mine.id.desc()).limit(_MARKED)
    names = select(channel.c.id, channel.c.slug, channel.c.name).order_by(channel.c.id)
    return newest, names


@cache
def _in_order_of_ids(dialect: str) -> Select[Any]:
    query = _select(dialect).where(article.c.id > bindparam("last"))
    return query.order_by(article.c.id).limit(bindparam("limit", type_=Integer))


@cache
def _in_order_of_changes(dialect: str) -> Select[Any]:
    at, id_, last = article.c.updated_at, article.c.id, bindparam("last", type_=BigInteger)
    updated: ColumnElement[Any]
    newer: ColumnElement[bool]
    if dialect == "sqlite":
        # Bytes as the column holds them, text or not, in a comparison that uses the index.
        updated = cast(bindparam("updated", type_=LargeBinary), Text)
        newer = tuple_(at, id_) > tuple_(updated, last)
    else:  # which read two ranges of the index for this, and all of it for a pair
        updated = bindparam("updated", type_=Moment)
        newer = (at > updated) | ((at == updated) & (id_ > last))
    query = _select(dialect).where(newer, at <= bindparam("until"))
    return query.order_by(at, id_).limit(bindparam("limit", type_=Integer))


def _select(dialect: str) -> Select[Any]:
    channel_id: ColumnElement[Any] = article.c.channel_id
    author_id: ColumnElement[Any] = func.coalesce(article.c.author_id, 0)
    if dialect == "sqlite":  # where any column may hold any text
        channel_id, author_id = cast(channel_id, Integer), cast(author_id, Integer)
    return select(
        article.c.id,
        channel_id.label("channel_id"),
        author_id.label("author_id"),
        _raw(dialect, article.c.published_at).label("published"),
        type_coerce(func.coalesce(is_published(), 0), NullType()).label("is_published"),
        _raw(dialect, article.c.updated_at).label("updated"),
    )


def _raw(dialect: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    if dialect == "sqlite":
        text = func.coalesce(type_coerce(column, NullType()), "")
        return type_coerce(cast(text, LargeBinary), NullType())
    since = func.timestampdiff(literal_column("MICROSECOND"), EPOCH, column, type_=BigInteger)
    return type_coerce(since.op("DIV")(1000), NullType())
