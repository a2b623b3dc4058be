"""Who is in a conversation, and who of them hears an event.

Each change of a conversation, its members or its messages locks the conversation's row first and
alone: so membership cannot change under a message, and a reader who was removed hears nothing of
what came after. Rejected: to lock the members' rows, of which a group has two hundred.

    row = lock(conn, conversation_id, reader_id)
    audience = find_audience(conn, row, sender_id=reader_id)
    put(conn, [Entry.of(event, to=audience.to, hid=audience.hid)], now=row.now)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, and_, exists, select

from tidings.store.by_key import select_by_key
from tidings.store.engine import database_now
from tidings.talk.errors import NotAMemberError
from tidings.talk.tables import conversation, conversation_member, reader_block

# The editor's desk as a member: where readers of keys begin (2**51 + a key's row, from 1 on), and
# below the anonymous ones (from 2**52 on), so it is no reader's id.
DESK_ID = 2**51
# The size of a group; each message is pushed to all of them.
MOST_MEMBERS = 200
MOST_LISTED = 200
# Kinds in which one blocked person ends the conversation; in a group the text is hidden instead.
BETWEEN_TWO = ("direct", "desk")


class Audience(NamedTuple):
    """Who hears an event: reader ids, and those among them who block its sender."""

    to: Sequence[int]
    hid: Collection[int]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a conversation, as the others see it."""

    reader_id: int
    role: str
    read_seq: int
    joined_at: datetime


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation whose row this transaction holds, and the asking reader's place in it.

    Attributes:
        now: by the database's clock.
    """

    conversation_id: int
    kind: str
    title: str
    last_seq: int
    now: datetime
    role: str
    from_seq: int


def lock(conn: Connection, conversation_id: int, reader_id: int) -> Locked:
    """Hold a conversation for the rest of the transaction.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    row = lock_conversations(conn, [conversation_id]).get(conversation_id)
    member = conversation_member.c
    mine = conn.execute(
        select(member.role, member.from_seq).where(
            member.conversation_id == conversation_id, member.reader_id == reader_id
        )
    ).first()
    if row is None or mine is None:
        raise NotAMemberError(conversation_id)
    return Locked(
        conversation_id=conversation_id,
        kind=row.kind,
        title=row.title,
        last_seq=row.last_seq,
        now=row.now,
        role=mine.role,
        from_seq=mine.from_seq,
    )


def lock_conversations(conn: Connection, ids: Collection[int]) -> Mapping[int, Row[Any]]:
    """Hold conversations, in the order of their ids: id → kind, title, direct_key, last_seq, and
    `now` by the database's clock. Those that do not exist are left out."""
    columns = (
        conversation.c.id,
        conversation.c.kind,
        conversation.c.title,
        conversation.c.direct_key,
        conversation.c.last_seq,
        database_now(conn).label("now"),
    )
    query = select_by_key(conn, conversation, "id", ids, *columns)
    return {row.id: row for row in conn.execute(query.with_for_update(of=conversation))}


def find_audience(conn: Connection, conversation_id: int, *, sender_id: int) -> Audience:
    """The members of a conversation, and those who block the sender of what they hear."""
    return find_audiences(conn, [conversation_id], [sender_id])[conversation_id, sender_id]


def find_audiences(
    conn: Connection, conversation_ids: Collection[int], sender_ids: Collection[int]
) -> Mapping[tuple[int, int], Audience]:
    """(conversation, sender) → who hears, by one statement, for all pairs of these."""
    member = conversation_member.c
    block = reader_block.c
    is_blocked = and_(block.reader_id == member.reader_id, block.blocked_id.in_(sender_ids))
    rows = conn.execute(
        select(member.conversation_id, member.reader_id, block.blocked_id)
        .select_from(conversation_member.outerjoin(reader_block, is_blocked))
        .where(member.conversation_id.in_(conversation_ids))
    )
    # Keys of a dict: a member who blocks two senders comes twice, and order is kept.
    members: dict[int, dict[int, None]] = {id_: {} for id_ in conversation_ids}
    blocks: dict[tuple[int, int], list[int]] = {}
    for conversation_id, reader_id, blocked_id in rows:
        members[conversation_id][reader_id] = None
        if blocked_id is not None:
            blocks.setdefault((conversation_id, blocked_id), []).append(reader_id)
    return {
        (id_, sender_id): Audience(tuple(members[id_]), tuple(blocks.get((id_, sender_id), ())))
        for id_ in conversation_ids
        for sender_id in sender_ids
    }


def find_members(
    conn: Connection, reader_id: int, conversation_id: int, *, after_id: int = 0
) -> list[Member]:
    """The members of a conversation by reader id, up to MOST_LISTED of them, which is a whole one.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    check_member(conn, reader_id, conversation_id)
    member = conversation_member.c
    rows = conn.execute(
        select(member.reader_id, member.role, member.read_seq, member.joined_at)
        .where(member.conversation_id == conversation_id, member.reader_id > after_id)
        .order_by(member.reader_id)
        .limit(MOST_LISTED)
    )
    return [Member(**row._mapping) for row in rows]


def check_member(conn: Connection, reader_id: int, conversation_id: int) -> None:
    """See that a reader may know of a conversation.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    member = conversation_member.c
    found = conn.scalar(
        select(member.reader_id).where(
            member.conversation_id == conversation_id, member.reader_id == reader_id
        )
    )
    if found is None:
        raise NotAMemberError(conversation_id)


def share_conversation(conn: Connection, reader_id: int, other_id: int) -> bool:
    """Whether two readers are in one conversation, and neither blocks the other: who may see
    whether the other is there."""
    mine, other = conversation_member.alias("mine"), conversation_member.alias("other")
    is_shared = exists(
        select(mine.c.reader_id)
        .join(other, other.c.conversation_id == mine.c.conversation_id)
        .where(mine.c.reader_id == reader_id, other.c.reader_id == other_id)
    )
    is_blocked = exists(
        select(reader_block.c.at).where(
            reader_block.c.reader_id.in_((reader_id, other_id)),
            reader_block.c.blocked_id.in_((reader_id, other_id)),
        )
    )
    return bool(conn.scalar(select(and_(is_shared, ~is_blocked))))
