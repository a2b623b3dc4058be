"""What readers did, as it is stored: asked about, and taken away.

Apart from `behaviour`, which takes in what is new: what is stored is asked by other commands.

    with engine.connect() as conn:
        has_behaviours(conn)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, select

from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.tables import behaviour, reader

CHUNK = 500


def has_behaviours(conn: Connection) -> bool:
    """True if any reader ever did anything."""
    return conn.scalar(select(behaviour.c.id).limit(1)) is not None


def find_instant_readers(conn: Connection, article_ids: Collection[int]) -> list[int]:
    """The readers who had every exposure to these articles in the very millisecond in which its
    batch was made. No browser reports such: a batch counts as seen after a second in view.
    """
    instant: set[int] = set()
    others: set[int] = set()
    columns = (behaviour.c.reader_id, behaviour.c.at, behaviour.c.batch_stamp)
    for chunk in _chunks(article_ids):
        query = select(*columns).where(
            behaviour.c.article_id.in_(chunk), behaviour.c.action == Action.EXPOSURE.label
        )
        for row in conn.execute(query):
            is_instant = milliseconds(row.at) == row.batch_stamp
            (instant if is_instant else others).add(row.reader_id)
    return sorted(instant - others)


def remove_readers(conn: Connection, reader_ids: Collection[int]) -> None:
    """Delete readers and everything they did."""
    for chunk in _chunks(reader_ids):
        conn.execute(delete(behaviour).where(behaviour.c.reader_id.in_(chunk)))
        conn.execute(delete(reader).where(reader.c.id.in_(chunk)))


def _chunks(ids: Collection[int]) -> list[Sequence[int]]:
    in_order = sorted(ids)
    return [in_order[start : start + CHUNK] for start in range(0, len(in_order), CHUNK)]
