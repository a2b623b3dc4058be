"""Stores events in SQL, in one transaction: what was done, what was seen, what is marked, and all
that is counted of it.

An event that is stored already changes nothing, so that events may be stored again after a crash
anywhere. An act that is taken back keeps its row with `undone` set, whichever of the two came
first, and its token does not act again. A mark is one a reader, kind and target, whether a token or
a request set it; of two events about one, the later one in the log counts, though the other may be
stored after it. Rejected: deleting what is taken back, after which a late repetition counts again.

    with transaction(engine) as conn:
        store_events(conn, [Placed(order, event)])  # how many changed something
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, func, insert, update
from sqlalchemy.dialects import mysql, sqlite

from tidings.news.counts import add_counts
from tidings.process.clock import moment
from tidings.reading.acts import Action
from tidings.reading.events import MARKS, Event, Target
from tidings.reading.known import (
    LAYOUT,
    Mark,
    MarkKey,
    Row,
    find_articles,
    find_exposures,
    find_marks,
    find_marks_before,
    find_rows,
    has_rows_before,
    key_of,
)
from tidings.reading.tables import behaviour, exposure, mark, reader
from tidings.reading.tallies import Tally


class Placed(NamedTuple):
    """An event and its place in the log: later ones have a greater `order`."""

    order: int
    event: Event


def store_events(conn: Connection, placed: Sequence[Placed]) -> int:
    """Store these events, in the order of the log.

    Args:
        conn: in a transaction of the caller's.

    Returns:
        How many of them changed something.
    """
    ledger = _Ledger(conn, placed)
    changed = sum(ledger.take(order, event) for order, event in placed)
    ledger.write()
    return changed


class _Ledger:
    """What one transaction finds, and what it is going to write."""

    def __init__(self, conn: Connection, placed: Sequence[Placed]) -> None:
        self._conn = conn
        events = [event for _, event in placed]
        self._existing = find_articles(conn, events)
        old_rows = has_rows_before(conn)
        self._marks = find_marks(conn, events)
        if old_rows:
            self._marks = find_marks_before(conn, events) | self._marks
        self._seen = find_exposures(conn, events, old_rows=old_rows)
        acts = {event.event_id for event in events if event.by_token and event.article_id}
        marked = {found.event_id for found in self._marks.values() if found.event_id}
        self._rows = find_rows(conn, acts | marked)
        self._new: dict[bytes, dict[str, Any]] = {}
        self._exposures: list[dict[str, Any]] = []
        self._changed_marks: dict[MarkKey, Mark] = {}
        self._counts: dict[int, Counter[str]] = {}
        self._tally = Tally()
        self._readers: dict[int, tuple[int, int]] = {}

    def take(self, order: int, event: Event) -> bool:
        """Enter one event; True if it changes something."""
        if event.action is Action.EXPOSURE:
            return self._expose(event)
        if event.target is Target.ARTICLE and event.article_id not in self._existing:
            return False
        if event.action in MARKS:
            return self._mark(order, event)
        event_id = event.event_id
        row = self._rows.get(event_id)
        if row is None:
            self._add(event, event_id, undone=event.undone)
            return True
        return event.undone and self._undo(row)

    def write(self) -> None:
        """Write what was entered."""
        conn = self._conn
        for event_id, values in self._new.items():
            values["undone"] = int(self._rows[event_id].undone)
        if self._new:
            conn.execute(insert(behaviour), list(self._new.values()))
        changed = [
            {"changed_id": event_id, "now_undone": int(row.undone)}
            for event_id, row in self._rows.items()
            if row.changed and event_id not in self._new
        ]
        if changed:
            query = update(behaviour).where(behaviour.c.event_id == bindparam("changed_id"))
            conn.execute(query.values(undone=bindparam("now_undone")), changed)
        if self._exposures:
            conn.execute(insert(exposure), self._exposures)
        _write_marks(conn, self._changed_marks)
        add_counts(conn, self._counts)
        self._tally.write(conn)
        _touch_readers(conn, self._readers)

    def _expose(self, event: Event) -> bool:
        event_id = event.event_id
        ids = event.article_ids
        shown = [article_id in self._existing for article_id in ids]
        if event.undone or event_id in self._seen or not any(shown):
            return False
        self._seen.add(event_id)
        sources = event.sources.ljust(len(ids), b"\0")[: len(ids)]
        self._exposures.append(
            {
                "event_id": event_id,
                "reader_id": event.reader_id,
                "channel_id": event.channel_id,
                "batch_stamp": event.stamp_ms,
                "at": moment(event.at_ms),
                "variant": event.variant,
                "context": event.context,
                "article_ids": ids.tobytes(),
                "sources": sources,
                "unreturned": int(event.unreturned),
            }
        )
        for article_id, source, exists in zip(ids, sources, shown, strict=True):
            if exists:
                row = Row(
                    Action.EXPOSURE,
                    article_id,
                    event.channel_id,
                    source=source,
                    variant=event.variant,
                    at_ms=event.at_ms,
                    undone=False,
                    is_tallied=not event.unreturned,
                )
                self._count(row, 1)
        self._touch(event)
        return True

    def _mark(self, order: int, event: Event) -> bool:
        key = key_of(event)
        found = self._marks.get(key)
        is_late = found is not None and order <= found.changed
        row_id = event.event_id if event.by_token else _direct_id(order, event)
        row = self._rows.get(row_id)
        if event.undone:
            if event.by_token and row is None:
                self._add(event, row_id, undone=True)
            return not is_late and self._unset(key, order, event)
        if row is not None or (is_late and not event.by_token):
            return False
        if is_late or (found is not None and found.is_set):
            # A repeat, or overtaken by what came later. The row keeps its token from acting after
            # the mark is taken back.
            if event.by_token:
                self._add(event, row_id, undone=True)
            if found is not None and not is_late:
                self._change_mark(key, found, order, is_set=True)
            return event.by_token
        event_id = None
        if event.target is Target.ARTICLE:
            self._add(event, row_id, undone=False)
            event_id = row_id
        self._changed_marks[key] = self._marks[key] = Mark(
            is_set=True, since=moment(event.at_ms), changed=order, event_id=event_id
        )
        self._touch(event)
        return True

    def _unset(self, key: MarkKey, order: int, event: Event) -> bool:
        found = self._marks.get(key)
        if found is None:
            found = Mark(is_set=False, since=moment(event.at_ms), changed=order, event_id=None)
            self._changed_marks[key] = self._marks[key] = found
            return True
        was_set = found.is_set
        if was_set and found.event_id is not None:
            row = self._rows.get(found.event_id)
            if row is not None:
                self._undo(row)
            else:  # It is so old that it was deleted.
                self._counts.setdefault(event.article_id, Counter())[event.action.label] -= 1
        self._change_mark(key, found, order, is_set=False)
        return was_set

    def _change_mark(self, key: MarkKey, found: Mark, order: int, *, is_set: bool) -> None:
        found.is_set, found.changed = is_set, order
        if not is_set:
            found.event_id = None
        self._changed_marks[key] = found

    def _add(self, event: Event, event_id: bytes, *, undone: bool) -> None:
        row = Row(
            event.action,
            event.article_id,
            event.channel_id,
            source=event.source,
            variant=event.variant,
            at_ms=event.at_ms,
            undone=undone,
            is_tallied=not event.unreturned,
        )
        self._rows[event_id] = row
        self._new[event_id] = {
            "event_id": event_id,
            "reader_id": event.reader_id,
            "article_id": event.article_id,
            "channel_id": event.channel_id,
            "action": event.action.label,
            "position": event.position,
            "batch_stamp": event.stamp_ms,
            "read_ms": event.read_ms,
            "at": moment(event.at_ms),
            "source": event.source,
            "variant": event.variant,
            "context": event.context,
            "layout": LAYOUT,
            "unreturned": int(event.unreturned),
        }
        if not undone:
            self._count(row, 1)
        self._touch(event)

    def _undo(self, row: Row) -> bool:
        if row.undone:
            return False
        row.undone = row.changed = True
        self._count(row, -1)
        return True

    def _count(self, row: Row, times: int) -> None:
        self._counts.setdefault(row.article_id, Counter())[row.action.label] += times
        if row.is_tallied:
            self._tally.add(
                row.action,
                row.article_id,
                row.at_ms,
                channel_id=row.channel_id,
                source=row.source,
                variant=row.variant,
                times=times,
            )

    def _touch(self, event: Event) -> None:
        first, last = self._readers.get(event.reader_id, (event.at_ms, event.at_ms))
        self._readers[event.reader_id] = (min(first, event.at_ms), max(last, event.at_ms))


def _direct_id(order: int, event: Event) -> bytes:
    """The id of a mark that no token names: its place in the log."""
    identity = b"mark" + order.to_bytes(8, "big") + event.reader_id.to_bytes(8, "big", signed=True)
    return hashlib.blake2s(identity, digest_size=16).digest()


def _write_marks(conn: Connection, marks: dict[MarkKey, Mark]) -> None:
    values = [
        {
            "reader_id": key[0],
            "kind": key[1],
            "target": key[2],
            "target_id": key[3],
            "is_set": int(changed.is_set),
            "since": changed.since,
            "changed": changed.changed,
            "event_id": changed.event_id,
        }
        for key, changed in sorted(marks.items())
    ]
    _upsert(conn, mark, values, {"is_set", "since", "changed", "event_id"})


def _upsert(
    conn: Connection, table: Table, values: Sequence[dict[str, Any]], replaced: set[str]
) -> None:
    if not values:
        return
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        conn.execute(
            lite.on_conflict_do_update(
                index_elements=[column.name for column in table.primary_key],
                set_={name: lite.excluded[name] for name in replaced},
            ),
            values,
        )
    else:
        my = mysql.insert(table)
        conn.execute(
            my.on_duplicate_key_update({name: my.inserted[name] for name in replaced}), values
        )


def _touch_readers(conn: Connection, seen_at: dict[int, tuple[int, int]]) -> None:
    values = [
        {"id": id_, "first_seen_at": moment(first), "last_seen_at": moment(last)}
        for id_, (first, last) in sorted(seen_at.items())
    ]
    if not values:
        return
    mine = reader.c
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(reader)
        widest: dict[str, Any] = {
            "first_seen_at": func.min(mine.first_seen_at, lite.excluded.first_seen_at),
            "last_seen_at": func.max(mine.last_seen_at, lite.excluded.last_seen_at),
        }
        conn.execute(lite.on_conflict_do_update(index_elements=["id"], set_=widest), values)
    else:
        my = mysql.insert(reader)
        widest = {
            "first_seen_at": func.least(mine.first_seen_at, my.inserted.first_seen_at),
            "last_seen_at": func.greatest(mine.last_seen_at, my.inserted.last_seen_at),
        }
        conn.execute(my.on_duplicate_key_update(widest), values)
