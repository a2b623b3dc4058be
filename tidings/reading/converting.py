"""Brings behaviours that programs of schema 4 stored into the form of today, a few hundred at a
time.

Their exposures, a row an article, become one row a batch; their likings and collections become
marks; and all of it is counted by minute and day, the newest first, so that rankings are whole
again soon. What is converted is known by its `layout`, so the work goes on where it was
interrupted, and finds what a program of schema 4 stores meanwhile. Rejected: doing it in the
migration, which would hold up a site of millions of rows for an hour.

    convert(engine, is_stopping=lambda: False)  # how many rows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from tidings.news.articles import existing_ids
from tidings.news.counts import add_counts
from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.events import MARKS, pack_ids
from tidings.reading.known import LAYOUT, chunks
from tidings.reading.tables import behaviour, exposure, mark
from tidings.reading.tallies import Tally
from tidings.reading.tracking import Shown
from tidings.store.transacting import transact

CHUNK = 500
_MARK_LABELS = {action.label: action for action in MARKS}


def convert(engine: Engine, is_stopping: Callable[[], bool]) -> int:
    """Convert what there is, until nothing is left or it is to stop; returns how many rows."""
    total = 0
    while not is_stopping():
        done = transact(engine, _convert_chunk)
        total += done
        if not done:
            break
    return total


def _convert_chunk(conn: Connection) -> int:
    mine = behaviour.c
    query = select(behaviour).where(mine.layout == 0).order_by(mine.id.desc()).limit(CHUNK)
    rows = conn.execute(query.with_for_update()).all()
    seen = [row for row in rows if row.action == Action.EXPOSURE.label]
    acts = [row for row in rows if row.action != Action.EXPOSURE.label]
    tally = Tally()
    counts: dict[int, Counter[str]] = {}
    _convert_exposures(conn, seen, tally, counts)
    _convert_acts(conn, acts, tally, counts)
    # Articles that are gone have no counters.
    existing = {id_ for chunk in chunks(counts) for id_ in existing_ids(conn, chunk)}
    add_counts(conn, {id_: added for id_, added in counts.items() if id_ in existing})
    tally.write(conn)
    return len(rows)


def _convert_exposures(
    conn: Connection, seen: Sequence[Any], tally: Tally, counts: dict[int, Counter[str]]
) -> None:
    if not seen:
        return
    mine = behaviour.c
    places = {(row.reader_id, row.channel_id, row.batch_stamp) for row in seen}
    # A batch may lie across two chunks.
    query = select(behaviour).where(
        mine.reader_id.in_({place[0] for place in places}),
        mine.batch_stamp.in_({place[2] for place in places}),
        mine.action == Action.EXPOSURE.label,
        mine.layout == 0,
    )
    batches: dict[tuple[int, int, int], list[Any]] = {}
    for row in conn.execute(query.order_by(mine.position)):
        place = (row.reader_id, row.channel_id, row.batch_stamp)
        if place in places:
            batches.setdefault(place, []).append(row)
    event_ids = {place: Shown(Action.EXPOSURE, *place).event_id for place in batches}
    known: set[bytes] = set()
    for chunk in chunks(event_ids.values()):
        query_known = select(exposure.c.event_id).where(exposure.c.event_id.in_(chunk))
        known.update(bytes(event_id) for event_id in conn.scalars(query_known))
    new = []
    for place, of_batch in batches.items():
        if event_ids[place] in known:  # Reported to both releases: it was counted twice.
            for row in of_batch:
                counts.setdefault(row.article_id, Counter())[row.action] -= 1
            continue
        first = of_batch[0]
        ids = [row.article_id for row in of_batch]
        new.append(
            {
                "event_id": event_ids[place],
                "reader_id": first.reader_id,
                "channel_id": first.channel_id,
                "batch_stamp": first.batch_stamp,
                "at": first.at,
                "article_ids": pack_ids(ids),
                "sources": bytes(len(ids)),
            }
        )
        for row in of_batch:
            _tally(tally, row)
    if new:
        conn.execute(insert(exposure), new)
    for chunk in chunks(row.id for of_batch in batches.values() for row in of_batch):
        conn.execute(delete(behaviour).where(mine.id.in_(chunk)))


def _convert_acts(
    conn: Connection, acts: Sequence[Any], tally: Tally, counts: dict[int, Counter[str]]
) -> None:
    marking = [row for row in acts if row.action in _MARK_LABELS and not row.undone]
    known = _find_marks(conn, marking)
    repeats: list[int] = []
    new: list[dict[str, Any]] = []
    # Newest first: of two that mark the same, the oldest is the mark, since it was there first.
    for row in reversed(marking):
        key = (row.reader_id, int(_MARK_LABELS[row.action]), row.article_id)
        if key not in known:
            known[key] = bytes(row.event_id)
            new.append(
                {
                    "reader_id": key[0],
                    "kind": key[1],
                    "target": 0,
                    "target_id": key[2],
                    "is_set": 1,
                    "since": row.at,
                    "changed": milliseconds(row.at) << 20,
                    "event_id": row.event_id,
                }
            )
        elif known[key] != bytes(row.event_id):
            repeats.append(row.id)
            counts.setdefault(row.article_id, Counter())[row.action] -= 1
    repeated = set(repeats)
    for row in acts:
        if not row.undone and row.id not in repeated:
            _tally(tally, row)
    if new:
        conn.execute(insert(mark), new)
    if repeats:
        conn.execute(update(behaviour).where(behaviour.c.id.in_(repeats)).values(undone=1))
    ids = [row.id for row in acts]
    if ids:
        conn.execute(update(behaviour).where(behaviour.c.id.in_(ids)).values(layout=LAYOUT))


def _find_marks(conn: Connection, rows: Sequence[Any]) -> dict[tuple[int, int, int], bytes | None]:
    if not rows:
        return {}
    query = select(mark.c.reader_id, mark.c.kind, mark.c.target_id, mark.c.event_id).where(
        mark.c.reader_id.in_({row.reader_id for row in rows}),
        mark.c.kind.in_([int(action) for action in MARKS]),
        mark.c.target == 0,
        mark.c.target_id.in_({row.article_id for row in rows}),
    )
    return {
        (row.reader_id, row.kind, row.target_id): None
        if row.event_id is None
        else bytes(row.event_id)
        for row in conn.execute(query)
    }


def _tally(tally: Tally, row: Any) -> None:
    tally.add(
        Action[row.action.upper()],
        row.article_id,
        milliseconds(row.at),
        channel_id=row.channel_id,
        source=row.source,
        variant=row.variant,
        times=1,
    )
