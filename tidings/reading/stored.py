"""What readers did, as it is stored: asked about, and taken away.

Apart from what takes in what is new: what is stored is asked by other commands, and by a worker
that learns what happened before it came. Exposures are asked in both forms, the one a batch and the
one an article that programs of schema 4 stored.

    with engine.connect() as conn:
        for piece in clicks_since(conn, a_day_ago):
            signals.fold(piece)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, delete, or_, select

from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.events import unpack_ids
from tidings.reading.known import chunks
from tidings.reading.tables import behaviour, exposure, mark, reader

PIECE = 10_000


class Clicked(NamedTuple):
    """A click that counts; `at_ms` is when, and the others are those of its token."""

    at_ms: int
    reader_id: int
    article_id: int
    channel_id: int
    position: int
    source: int
    variant: int
    context: int


class Exposed(NamedTuple):
    """A batch that was seen.

    Attributes:
        article_ids: int64, in the order shown.
        sources: a byte an article.
    """

    at_ms: int
    reader_id: int
    channel_id: int
    stamp_ms: int
    variant: int
    context: int
    article_ids: Sequence[int]
    sources: bytes


def has_behaviours(conn: Connection) -> bool:
    """True if any reader ever did anything."""
    return any(
        conn.scalar(select(table.c.id).limit(1)) is not None for table in (behaviour, exposure)
    )


def clicks_since(conn: Connection, since: datetime, piece: int = PIECE) -> Iterator[list[Clicked]]:
    """Every click since then that was not taken back, oldest first, `piece` at a time."""
    mine = behaviour.c
    query = select(
        mine.id,
        mine.at,
        mine.reader_id,
        mine.article_id,
        mine.channel_id,
        mine.position,
        mine.source,
        mine.variant,
        mine.context,
    ).where(mine.action == Action.CLICK.label, mine.undone == 0)
    for rows in _pieces(conn, query, behaviour, since, piece):
        yield [Clicked(milliseconds(row.at), *row[2:]) for row in rows]


def exposures_since(
    conn: Connection, since: datetime, piece: int = PIECE
) -> Iterator[list[Exposed]]:
    """Every batch that was seen since then, oldest first, `piece` at a time; those of schema 4
    first, as long as there are any."""
    yield from _exposures_before(conn, since, piece)
    mine = exposure.c
    query = select(
        mine.id,
        mine.at,
        mine.reader_id,
        mine.channel_id,
        mine.batch_stamp,
        mine.variant,
        mine.context,
        mine.article_ids,
        mine.sources,
    )
    for rows in _pieces(conn, query, exposure, since, piece):
        yield [
            Exposed(
                milliseconds(row.at),
                row.reader_id,
                row.channel_id,
                row.batch_stamp,
                variant=row.variant,
                context=row.context,
                article_ids=unpack_ids(bytes(row.article_ids)),
                sources=bytes(row.sources),
            )
            for row in rows
        ]


def _exposures_before(conn: Connection, since: datetime, piece: int) -> Iterator[list[Exposed]]:
    mine = behaviour.c
    query = select(
        mine.id, mine.at, mine.reader_id, mine.channel_id, mine.batch_stamp, mine.article_id
    ).where(mine.action == Action.EXPOSURE.label, mine.layout == 0)
    for rows in _pieces(conn, query, behaviour, since, piece):
        batches: dict[tuple[int, int, int], tuple[int, list[int]]] = {}
        for row in rows:
            place = (row.reader_id, row.channel_id, row.batch_stamp)
            batches.setdefault(place, (milliseconds(row.at), []))[1].append(row.article_id)
        yield [
            Exposed(at_ms, *place, 0, 0, ids, bytes(len(ids)))
            for place, (at_ms, ids) in batches.items()
        ]


def _pieces(
    conn: Connection, query: Select[Any], table: Any, since: datetime, piece: int
) -> Iterator[Sequence[Any]]:
    """The rows since then in the order of their moments: each piece goes on after the last row of
    the one before, so that none is read twice and no server keeps a result."""
    mine, after = table.c, None
    while True:
        start = (
            mine.at >= since
            if after is None
            else or_(mine.at > after.at, and_(mine.at == after.at, mine.id > after.id))
        )
        floor = since if after is None else after.at
        rows = conn.execute(
            query.where(mine.at >= floor, start).order_by(mine.at, mine.id).limit(piece)
        ).all()
        if rows:
            yield rows
        if len(rows) < piece:
            return
        after = rows[-1]


def find_instant_readers(conn: Connection, article_ids: Collection[int]) -> list[int]:
    """The readers who had every exposure to these articles in the very millisecond in which its
    batch was made. No browser reports such: a batch counts as seen after a second in view.
    """
    wanted = set(article_ids)
    instant: set[int] = set()
    others: set[int] = set()
    columns = (behaviour.c.reader_id, behaviour.c.at, behaviour.c.batch_stamp)
    for chunk in chunks(sorted(wanted)):
        query = select(*columns).where(
            behaviour.c.article_id.in_(chunk), behaviour.c.action == Action.EXPOSURE.label
        )
        for row in conn.execute(query):
            is_instant = milliseconds(row.at) == row.batch_stamp
            (instant if is_instant else others).add(row.reader_id)
    seen = select(
        exposure.c.reader_id, exposure.c.at, exposure.c.batch_stamp, exposure.c.article_ids
    )
    for batch in conn.execute(seen.execution_options(yield_per=PIECE)):
        if not wanted.isdisjoint(unpack_ids(bytes(batch.article_ids))):
            is_instant = milliseconds(batch.at) == batch.batch_stamp
            (instant if is_instant else others).add(batch.reader_id)
    return sorted(instant - others)


def remove_readers(conn: Connection, reader_ids: Collection[int]) -> None:
    """Delete readers and everything they did."""
    for chunk in chunks(sorted(reader_ids)):
        for table in (behaviour, exposure, mark):
            conn.execute(delete(table).where(table.c.reader_id.in_(chunk)))
        conn.execute(delete(reader).where(reader.c.id.in_(chunk)))
