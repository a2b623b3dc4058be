"""Blocking a person: between two nothing is sent any more, and in groups their texts are hidden.

A block is looked up as a message is sent and as it is read, never copied, so that taking it back
shows what was hidden. The blocked reader is told no more than that one of the two blocks the other.
Rejected: to take the messages of a blocked reader out of a group; seqs would have holes, and others
would answer what one cannot see was said.

    block(conn, 7, 9)
    find_blocks(conn, 7, limit=50)  # [Block(reader_id=9, at=…)]
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, or_, select

from tidings.store.metadata import MOST_ID
from tidings.talk.errors import InvalidError, QuotaError
from tidings.talk.inboxes import take_turn
from tidings.talk.tables import reader_block

# Each count of unread messages compares with all of them.
MOST_BLOCKS = 1000


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A reader who is blocked."""

    reader_id: int
    at: datetime


def block(conn: Connection, reader_id: int, blocked_id: int) -> None:
    """Block a reader; to do it again changes nothing. The desk can be blocked, too.

    Raises:
        InvalidError: it is the reader's own id, or none.
        QuotaError: the reader blocks MOST_BLOCKS already.
    """
    if blocked_id == reader_id or not 1 <= blocked_id <= MOST_ID:
        raise InvalidError(f"reader {blocked_id} cannot be blocked")
    now = take_turn(conn, reader_id)
    mine = reader_block.c.reader_id == reader_id
    if conn.scalar(select(reader_block.c.at).where(mine, reader_block.c.blocked_id == blocked_id)):
        return
    if (conn.scalar(select(func.count()).where(mine)) or 0) >= MOST_BLOCKS:
        raise QuotaError(f"you block {MOST_BLOCKS} readers, and cannot block more")
    row = {"reader_id": reader_id, "blocked_id": blocked_id, "at": now}
    conn.execute(insert(reader_block).values(row))


def unblock(conn: Connection, reader_id: int, blocked_id: int) -> None:
    """Take a block back; to do it again changes nothing."""
    conn.execute(
        delete(reader_block).where(
            reader_block.c.reader_id == reader_id, reader_block.c.blocked_id == blocked_id
        )
    )


def find_blocks(
    conn: Connection, reader_id: int, *, after_id: int = 0, limit: int = 50
) -> list[Block]:
    """Whom a reader blocks, by reader id."""
    rows = conn.execute(
        select(reader_block.c.blocked_id, reader_block.c.at)
        .where(reader_block.c.reader_id == reader_id, reader_block.c.blocked_id > after_id)
        .order_by(reader_block.c.blocked_id)
        .limit(limit)
    )
    return [Block(reader_id=row.blocked_id, at=row.at) for row in rows]


def is_blocked_between(conn: Connection, reader_id: int, others: Collection[int]) -> bool:
    """Whether the reader blocks one of these, or one of these the reader."""
    return bool(find_blocked_between(conn, reader_id, others))


def find_blocked_between(
    conn: Connection, reader_id: int, others: Collection[int]
) -> frozenset[int]:
    """Those of others whom the reader blocks, or who block the reader."""
    by_me = and_(reader_block.c.reader_id == reader_id, reader_block.c.blocked_id.in_(others))
    me = and_(reader_block.c.blocked_id == reader_id, reader_block.c.reader_id.in_(others))
    rows = conn.execute(
        select(reader_block.c.reader_id, reader_block.c.blocked_id).where(or_(by_me, me))
    )
    return frozenset(id_ for row in rows for id_ in row if id_ != reader_id)
