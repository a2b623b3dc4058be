"""What of these events is stored already: looked up before anything is written.

Programs of schema 4 stored an exposure as a row an article and knew no marks. As long as such rows
are there (`layout` 0), both forms are asked, so that what one release stored counts no second time
with the other. Rejected: waiting for the job that brings the old rows into the new form; readers
report meanwhile.

    find_rows(conn, {event.event_id})  # {b"...": Row(action=<Action.CLICK: 1>, ...)}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, select

from tidings.news.articles import existing_ids
from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.events import MARKS, Event, Target
from tidings.reading.tables import behaviour, exposure, mark
from tidings.reading.tracking import Shown

CHUNK = 500
# Rows of programs that know this layout; those of schema 4 are brought into it by a job.
LAYOUT = 1

_Item = TypeVar("_Item")
MarkKey = tuple[int, int, int, int]


@dataclass(slots=True)
class Row:
    """A behaviour that is stored, or will be.

    Attributes:
        is_tallied: it is in the tallies, and has to leave them when it is taken back.
    """

    action: Action
    article_id: int
    channel_id: int
    source: int
    variant: int
    at_ms: int
    undone: bool
    is_tallied: bool = True
    changed: bool = False


@dataclass(slots=True)
class Mark:
    """A mark as it is stored, or will be."""

    is_set: bool
    since: datetime
    changed: int
    event_id: bytes | None


def key_of(event: Event) -> MarkKey:
    """What tells a mark from every other."""
    target_id = event.article_id if event.target is Target.ARTICLE else event.target_id
    return (event.reader_id, int(event.action), int(event.target), target_id)


def find_articles(conn: Connection, events: Sequence[Event]) -> set[int]:
    """Those articles of these events that exist."""
    wanted = {event.article_id for event in events}
    for event in events:
        wanted.update(event.article_ids)
    return {id_ for chunk in chunks(wanted) for id_ in existing_ids(conn, chunk)}


def find_rows(conn: Connection, event_ids: Iterable[bytes]) -> dict[bytes, Row]:
    """The behaviours of these ids, locked."""
    mine = behaviour.c
    columns = (
        mine.event_id,
        mine.action,
        mine.article_id,
        mine.channel_id,
        mine.source,
        mine.variant,
        mine.at,
        mine.undone,
        mine.layout,
        mine.unreturned,
    )
    rows: dict[bytes, Row] = {}
    for chunk in chunks(event_ids):
        for row in conn.execute(select(*columns).where(mine.event_id.in_(chunk)).with_for_update()):
            rows[bytes(row.event_id)] = Row(
                Action[row.action.upper()],
                row.article_id,
                row.channel_id,
                source=row.source,
                variant=row.variant,
                at_ms=milliseconds(row.at),
                undone=bool(row.undone),
                is_tallied=row.layout == LAYOUT and not row.unreturned,
            )
    return rows


def find_marks(conn: Connection, events: Sequence[Event]) -> dict[MarkKey, Mark]:
    """The marks that these events may change, locked: of two that change one at once the second
    sees what the first did."""
    keys = {key_of(event) for event in events if event.action in MARKS}
    found: dict[MarkKey, Mark] = {}
    for chunk in chunks(keys):
        query = select(mark).where(
            mark.c.reader_id.in_({key[0] for key in chunk}),
            mark.c.kind.in_({key[1] for key in chunk}),
            mark.c.target.in_({key[2] for key in chunk}),
            mark.c.target_id.in_({key[3] for key in chunk}),
        )
        for row in conn.execute(query.with_for_update()):
            key = (row.reader_id, row.kind, row.target, row.target_id)
            if key in keys:
                found[key] = Mark(
                    is_set=bool(row.is_set),
                    since=row.since,
                    changed=row.changed,
                    event_id=None if row.event_id is None else bytes(row.event_id),
                )
    return found


def has_rows_before(conn: Connection) -> bool:
    """True while there are rows that a program of schema 4 stored."""
    query = select(behaviour.c.id).where(behaviour.c.layout == 0).limit(1)
    return conn.scalar(query) is not None


def find_marks_before(conn: Connection, events: Sequence[Event]) -> dict[MarkKey, Mark]:
    """Marks that programs of schema 4 stored as behaviours only."""
    keys = {key_of(event) for event in events if event.action in MARKS}
    mine, found = behaviour.c, {}
    for chunk in chunks(keys):
        query = select(mine.reader_id, mine.action, mine.article_id, mine.at, mine.event_id).where(
            mine.reader_id.in_({key[0] for key in chunk}),
            mine.article_id.in_({key[3] for key in chunk}),
            mine.action.in_([action.label for action in MARKS]),
            mine.layout == 0,
            mine.undone == 0,
        )
        for row in conn.execute(query.order_by(mine.at.desc())):
            key = (row.reader_id, int(Action[row.action.upper()]), 0, row.article_id)
            found[key] = Mark(is_set=True, since=row.at, changed=0, event_id=bytes(row.event_id))
    return found


def find_exposures(conn: Connection, events: Sequence[Event], *, old_rows: bool) -> set[bytes]:
    """The ids of those exposures that are stored, in the form before as well if there are rows in
    it."""
    exposures = {event.event_id: event for event in events if event.action is Action.EXPOSURE}
    seen = {
        bytes(event_id)
        for chunk in chunks(exposures)
        for event_id in conn.scalars(
            select(exposure.c.event_id).where(exposure.c.event_id.in_(chunk))
        )
    }
    if old_rows:
        one_by_one = {
            piece_id: event_id
            for event_id, event in exposures.items()
            for piece_id in ids_before(event)
        }
        for chunk in chunks(one_by_one):
            known = select(behaviour.c.event_id).where(behaviour.c.event_id.in_(chunk))
            seen.update(one_by_one[bytes(piece_id)] for piece_id in conn.scalars(known))
    return seen


def ids_before(event: Event) -> list[bytes]:
    """The ids under which programs of schema 4 stored this exposure, one an article."""
    return [
        Shown(
            Action.EXPOSURE,
            event.reader_id,
            event.channel_id,
            stamp_ms=event.stamp_ms,
            article_id=article_id,
            position=position,
        ).event_id
        for position, article_id in enumerate(event.article_ids)
    ]


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """These items, as many at a time as one statement may name."""
    every = list(items)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]
