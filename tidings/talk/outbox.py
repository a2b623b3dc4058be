"""What was stored and has still to be told: written with it in one transaction, deleted once told.

A process that dies between its commit and Redis, a Redis that is away, and a program that has no
Redis at all lose nothing: the row stays, and a node of the chat finds it. A node tells what it
stored itself at once after its commit, so no other node takes its rows for two seconds; all others
are due at once. Telling twice is harmless, since receivers drop what they had. Rejected: to publish
first and store then, which tells of messages that never were; and to publish after the commit
alone, which forgets at every crash.

    engine = telling(engine, publish)  # in a node: publish(posted) follows each commit
    put(conn, [Entry.of(event, to=(7, 9))], now=now)  # in any process, in its own transaction
    for posted in claim(engine, limit=100): ...  # five times a second, in each node
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, Engine, insert, select

from tidings.store.by_key import delete_by_key, update_by_key
from tidings.store.engine import after_commit, database_now, transaction
from tidings.talk.events import Entry
from tidings.talk.holds import has_free, is_free
from tidings.talk.tables import talk_outbox

# So long a row belongs to the node that wrote or claimed it. Redis answers within milliseconds; a
# node that has not told in this time has died, or cannot reach Redis.
HELD = timedelta(seconds=2)
_TELLS = "talk_tells"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])


class Posted(msgspec.Struct, frozen=True):
    """A row of the outbox: its number, which `forget` takes, and what is to be told."""

    id: int
    entries: Sequence[Entry]


def telling(engine: Engine, tell: Callable[[Posted], object]) -> Engine:
    """The same engine for a node of the chat, which tells what it stores itself.

    Args:
        tell: called after each commit that put something, once a row, in the thread or greenlet
            that committed; it must not wait. The node deletes the row by `forget`, within HELD,
            once Redis has it.
    """
    return engine.execution_options(**{_TELLS: tell})


def put(conn: Connection, entries: Sequence[Entry], *, now: datetime) -> None:
    """Have this told once the transaction has committed: one row, however many entries.

    Args:
        now: by the database's clock, as read in this transaction.
    """
    if not entries:
        return
    tell = conn.get_execution_options().get(_TELLS)
    row = {
        "at": now,
        "due_at": now if tell is None else now + HELD,
        "entries": _encoder.encode(entries),
    }
    key = conn.execute(insert(talk_outbox).values(row)).inserted_primary_key
    assert key is not None
    if tell is not None:
        posted = Posted(int(key[0]), entries)
        after_commit(conn, lambda: tell(posted))


def claim(engine: Engine, *, limit: int) -> list[Posted]:
    """Take rows that are due, the oldest first, and keep them from other nodes for HELD.

    A row that cannot be decoded has no entries; `forget` it as well.
    """
    due = talk_outbox.c.due_at
    if not has_free(engine, due, longest=HELD):
        return []
    with transaction(engine) as conn:
        now = conn.execute(select(database_now(conn))).scalar_one()
        query = select(talk_outbox.c.id, talk_outbox.c.entries).where(
            is_free(due, now, longest=HELD)
        )
        rows = conn.execute(
            query.order_by(due, talk_outbox.c.id).limit(limit).with_for_update(skip_locked=True)
        ).all()
        held = {row.id: 0 for row in rows}
        if held:
            update_by_key(conn, talk_outbox, held, "due_at = :due_at", due_at=now + HELD)
    return [Posted(row.id, _decode(row.entries)) for row in sorted(rows, key=lambda row: row.id)]


def forget(conn: Connection, ids: Collection[int]) -> None:
    """Delete rows that the bus has."""
    if ids:
        delete_by_key(conn, talk_outbox, ids)


def find_oldest(conn: Connection) -> datetime | None:
    """Since when the oldest row waits to be told; None if none does."""
    oldest: datetime | None = conn.scalar(
        select(talk_outbox.c.at).order_by(talk_outbox.c.id).limit(1)
    )
    return oldest


def _decode(entries: bytes) -> Sequence[Entry]:
    try:
        return _decoder.decode(entries)
    except msgspec.DecodeError:
        return ()
