"""What readers did, as it is stored: asked about, and taken away.

Apart from what takes in what is new: what is stored is asked by other commands, and by a worker
that learns what happened before it came. Exposures are asked in both forms, the one a batch and the
one an article that programs of schema 4 stored. A row that cannot be read, since another program
wrote into it, is counted and left out: no worker fails to start for it.

    with engine.connect() as conn:
        for piece in clicks_since(conn, a_day_ago):
            signals.fold(piece)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Select, and_, delete, or_, select, type_coerce
from sqlalchemy.types import NullType

from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.events import unpack_ids
from tidings.reading.known import chunks
from tidings.reading.tables import behaviour, exposure, mark, reader
from tidings.store.metadata import ReadableMoment

PIECE = 10_000

log = structlog.get_logger(__name__)
UNREADABLE = Counter(
    "tidings_behaviours_unreadable_total",
    "Rows of behaviours and exposures that were left out since they could not be read",
)

# So many by one process; where there are more, that has been told.
TOLD = 1000
_told: set[tuple[str, int]] = set()

_Made = TypeVar("_Made")


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
    """Every click since then that was not taken back, oldest first, `piece` at a time; none of
    readers who have not come back."""
    mine = behaviour.c
    query = select(
        mine.id,
        _at(mine),
        mine.reader_id,
        mine.article_id,
        mine.channel_id,
        mine.position,
        mine.source,
        mine.variant,
        mine.context,
    ).where(mine.action == Action.CLICK.label, mine.undone == 0, mine.unreturned == 0)
    for rows in _pieces(conn, query, behaviour, since, piece):
        yield _read(rows, _clicked)


def exposures_since(
    conn: Connection, since: datetime, piece: int = PIECE
) -> Iterator[list[Exposed]]:
    """Every batch that was seen since then, oldest first, `piece` at a time; those of schema 4
    first, as long as there are any, and none of readers who have not come back."""
    yield from _exposures_before(conn, since, piece)
    mine = exposure.c
    query = select(
        mine.id,
        _at(mine),
        mine.reader_id,
        mine.channel_id,
        mine.batch_stamp,
        mine.variant,
        mine.context,
        # As they are: a text among them would fail the piece that it stands in.
        type_coerce(mine.article_ids, NullType()).label("article_ids"),
        type_coerce(mine.sources, NullType()).label("sources"),
    ).where(mine.unreturned == 0)
    for rows in _pieces(conn, query, exposure, since, piece):
        yield _read(rows, _exposed)


def _exposures_before(conn: Connection, since: datetime, piece: int) -> Iterator[list[Exposed]]:
    mine = behaviour.c
    query = select(
        mine.id,
        _at(mine),
        mine.reader_id,
        mine.channel_id,
        mine.batch_stamp,
        mine.article_id,
    ).where(mine.action == Action.EXPOSURE.label, mine.layout == 0)
    for rows in _pieces(conn, query, behaviour, since, piece):
        batches: dict[tuple[int, int, int], tuple[int, list[int]]] = {}
        for at_ms, reader_id, channel_id, stamp_ms, article_id in _read(rows, _numbers):
            place = (reader_id, channel_id, stamp_ms)
            batches.setdefault(place, (at_ms, []))[1].append(article_id)
        yield [
            Exposed(at_ms, *place, 0, 0, ids, bytes(len(ids)))
            for place, (at_ms, ids) in batches.items()
        ]


def _at(mine: Any) -> Any:
    """When it was; None where that is no date."""
    return type_coerce(mine.at, ReadableMoment()).label("at")


def _clicked(row: Any) -> Clicked:
    return Clicked(milliseconds(row.at), *map(int, row[2:9]))


def _exposed(row: Any) -> Exposed:
    at_ms, reader_id, channel_id, stamp_ms, variant, context = (
        milliseconds(row.at),
        *map(int, row[2:7]),
    )
    return Exposed(
        at_ms,
        reader_id,
        channel_id,
        stamp_ms,
        variant=variant,
        context=context,
        article_ids=unpack_ids(bytes(row.article_ids)),
        sources=bytes(row.sources),
    )


def _numbers(row: Any) -> tuple[int, ...]:
    return (milliseconds(row.at), *map(int, row[2:6]))


def _read(rows: Iterable[Any], make: Callable[[Any], _Made]) -> list[_Made]:
    """What can be made of the rows; one that cannot be read is told once, not with each look."""
    made = []
    for row in rows:
        try:
            made.append(make(row))
        except (AttributeError, TypeError, ValueError) as ex:
            row_of = (make.__name__, row.id)
            if row_of not in _told and len(_told) < TOLD:
                _told.add(row_of)
                UNREADABLE.inc()
                log.error("behaviour_left_out", row=row.id, error=repr(ex))
    return made


def _raw(mine: Any) -> Any:
    """The moment as the driver gives it: a place in the order, though it be no date."""
    return type_coerce(mine.at, NullType())


def _pieces(
    conn: Connection, query: Select[Any], table: Any, since: datetime, piece: int
) -> Iterator[Sequence[Any]]:
    """The rows since then in the order of their moments: each piece goes on after the last row of
    the one before, so that none is read twice and no server keeps a result."""
    mine, after = table.c, None
    at = _raw(mine)
    while True:
        if after is None:
            rest = query.where(mine.at >= since)
        else:
            newer = or_(at > after.place, and_(at == after.place, mine.id > after.id))
            rest = query.where(at >= after.place, newer)
        rows = conn.execute(
            rest.add_columns(at.label("place")).order_by(mine.at, mine.id).limit(piece)
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
