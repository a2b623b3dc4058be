"""What readers did before this site knew of it, stored as what they report is.

The same function stores both, so that counts, tallies and marks follow; an event is named by
reader, article, act and moment, so that the same history can be stored any number of times. It
belongs to no batch, and it never overtakes a mark that a reader set since. Rejected: rows
inserted beside the fold, whose counts and marks a nightly job would have to mend.

    with transaction(engine) as conn:
        store_past(conn, [Past(Action.CLICK, 7, 12, at_ms=1506826800000, context=0)])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from tidings.news.articles import existing_ids
from tidings.reading.acts import Action
from tidings.reading.events import Event, pack_ids
from tidings.reading.known import chunks
from tidings.reading.storing import Placed, store_events
from tidings.reading.tables import behaviour, exposure


class Past(NamedTuple):
    """A reader did this with an article, or saw it."""

    action: Action
    reader_id: int
    article_id: int
    at_ms: int
    context: int


class Stored(NamedTuple):
    """What became of some events: stored, stored before, or of an article that is not known."""

    new: int
    repeated: int
    unknown: int


def store_past(conn: Connection, past: Sequence[Past]) -> Stored:
    """Store what happened, in a transaction of the caller's."""
    wanted = {one.article_id for one in past}
    known = {id_ for chunk in chunks(sorted(wanted)) for id_ in existing_ids(conn, chunk)}
    events = [_event(one) for one in past if one.article_id in known]
    new = store_events(conn, [Placed(event.at_ms, event) for event in events])
    return Stored(new, len(events) - new, len(past) - len(events))


def witness_of(past: Iterable[Past], conn: Connection) -> str:
    """The last of these that is stored, to look for later; empty if none is."""
    for one in reversed(list(past)):
        found = _event(one).event_id.hex()
        if is_there(conn, found):
            return found
    return ""


def is_there(conn: Connection, witness: str) -> bool:
    """Whether what `witness_of` found is in this database still."""
    event_id = bytes.fromhex(witness)
    return any(
        conn.scalar(select(table.c.id).where(table.c.event_id == event_id)) is not None
        for table in (behaviour, exposure)
    )


def _event(past: Past) -> Event:
    is_exposure = past.action is Action.EXPOSURE
    return Event(
        action=past.action,
        reader_id=past.reader_id,
        channel_id=0,
        stamp_ms=past.at_ms,
        article_id=past.article_id,
        position=0,
        at_ms=past.at_ms,
        context=past.context,
        packed_ids=pack_ids([past.article_id]) if is_exposure else b"",
        sources=b"\0" if is_exposure else b"",
    )
