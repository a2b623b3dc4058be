"""Who is in a conversation, and who of them hears an event.

Each change of a conversation, its members or its messages locks the conversation's row first and
alone: so membership cannot change under a message, and a reader who was removed hears nothing of
what came after. Rejected: to lock the members' rows, of which a group has two hundred.

    row = lock(conn, conversation_id, reader_id)
    audience = find_audience(conn, conversation_id, sender_id=reader_id)
    put(conn, [Entry.of(event, to=audience.to, hid=audience.hid)], now=row.now)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, exists, or_, select, text, tuple_

from tidings.store.by_key import HINT, select_by_key
from tidings.store.engine import database_now
from tidings.talk.errors import NotAMemberError
from tidings.talk.tables import conversation, conversation_member, reader_block

# The editor's desk as a member: where readers of keys begin (2**51 + a key's row, from 1 on), and
# below the anonymous ones (from 2**52 on), so it is no reader's id.
DESK_ID = 2**51
# The size of a group; each message is pushed to all of them.
MOST_MEMBERS = 200
# Kinds in which one blocked person ends the conversation; in a group the text is hidden instead.
BETWEEN_TWO = ("direct", "desk")

_IDS_LITE = (
    "(SELECT value AS id FROM json_each(:wanted)) AS wanted CROSS JOIN conversation_member AS m"
)
_IDS_MY = (
    "JSON_TABLE(:wanted, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted "
    f"STRAIGHT_JOIN conversation_member AS m {HINT}"
)
# From a list of conversations by the primary key to their members, and to their blocks: left the
# choice, MariaDB reads a table from end to end while it is small. Text, since it is asked at each
# batch of messages, and building it anew costs more than asking.
_AUDIENCES = {
    dialect: text(
        f"SELECT m.conversation_id, m.reader_id, b.blocked_id FROM {listed} ON "  # noqa: S608
        "m.conversation_id = wanted.id LEFT JOIN reader_block AS b ON "
        "b.reader_id = m.reader_id AND b.blocked_id IN :senders"
    ).bindparams(bindparam("senders", expanding=True))
    for dialect, listed in (("sqlite", _IDS_LITE), ("mysql", _IDS_MY))
}


class Audience(NamedTuple):
    """Who hears an event: reader ids, and those among them who block its sender."""

    to: Sequence[int]
    hid: Collection[int]


class Audiences:
    """Who hears, for several conversations and senders.

    Args:
        members: conversation → its members, as the keys of a dict.
        blocks: (conversation, sender) → those of them who block the sender.
    """

    def __init__(
        self,
        members: Mapping[int, Mapping[int, None]],
        blocks: Mapping[tuple[int, int], Sequence[int]],
    ) -> None:
        self._members = members
        self._blocks = blocks

    def of(self, conversation_id: int, sender_id: int) -> Audience:
        """Who hears what this sender says there."""
        to = tuple(self._members.get(conversation_id, ()))
        return Audience(to, self._blocks.get((conversation_id, sender_id), ()))


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


def name_pair(one_id: int, other_id: int) -> str:
    """The `direct_key` by which the one conversation of two is found, whoever starts it."""
    low, high = sorted((one_id, other_id))
    return f"{low}:{high}"


def read_pair(direct_key: str | None) -> Sequence[int]:
    """The two of a conversation between two; empty of a group, which has no such key."""
    return [int(id_) for id_ in direct_key.split(":")] if direct_key else ()


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
    return find_audiences(conn, [conversation_id], [sender_id]).of(conversation_id, sender_id)


def find_audiences(
    conn: Connection, conversation_ids: Collection[int], sender_ids: Collection[int]
) -> Audiences:
    """Who hears what these senders say in these conversations, by one statement."""
    query = _AUDIENCES["sqlite" if conn.dialect.name == "sqlite" else "mysql"]
    wanted = json.dumps(sorted(conversation_ids), separators=(",", ":"))
    rows = conn.execute(query, {"wanted": wanted, "senders": list(sender_ids)})
    # Keys of a dict: a member who blocks two senders comes twice, and order is kept.
    members: dict[int, dict[int, None]] = {}
    blocks: dict[tuple[int, int], list[int]] = {}
    for conversation_id, reader_id, blocked_id in rows:
        members.setdefault(conversation_id, {})[reader_id] = None
        if blocked_id is not None:
            blocks.setdefault((conversation_id, blocked_id), []).append(reader_id)
    return Audiences(members, blocks)


def find_members(conn: Connection, reader_id: int, conversation_id: int) -> list[Member]:
    """The members of a conversation, by reader id.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    check_member(conn, reader_id, conversation_id)
    member = conversation_member.c
    rows = conn.execute(
        select(member.reader_id, member.role, member.read_seq, member.joined_at)
        .where(member.conversation_id == conversation_id)
        .order_by(member.reader_id)
    )
    return [Member(**row._mapping) for row in rows]


def check_member(conn: Connection, reader_id: int, conversation_id: int) -> int:
    """See that a reader may know of a conversation; returns the seq after which they see it.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    member = conversation_member.c
    from_seq = conn.scalar(
        select(member.from_seq).where(
            member.conversation_id == conversation_id, member.reader_id == reader_id
        )
    )
    if from_seq is None:
        raise NotAMemberError(conversation_id)
    return int(from_seq)


def share_conversation(conn: Connection, reader_id: int, other_id: int) -> bool:
    """Whether two readers are in one conversation, and neither blocks the other: who may see
    whether the other is there."""
    return bool(find_sharing(conn, [(reader_id, other_id)]))


def find_sharing(
    conn: Connection, pairs: Collection[tuple[int, int]]
) -> frozenset[tuple[int, int]]:
    """Those of these pairs of readers in which the first may see whether the second is there,
    by one statement, so a hundred or so are asked at a time."""
    mine, other = conversation_member.alias("mine"), conversation_member.alias("other")
    one_id, other_id, block = mine.c.reader_id, other.c.reader_id, reader_block.c
    is_blocked = exists().where(
        or_(
            and_(block.reader_id == one_id, block.blocked_id == other_id),
            and_(block.reader_id == other_id, block.blocked_id == one_id),
        )
    )
    rows = conn.execute(
        select(one_id, other_id)
        .distinct()
        .join(other, other.c.conversation_id == mine.c.conversation_id)
        .where(
            # By an index each; a pair of columns of two tables has none.
            one_id.in_({one for one, _ in pairs}),
            other_id.in_({other for _, other in pairs}),
            tuple_(one_id, other_id).in_(list(pairs)),
            ~is_blocked,
        )
    )
    return frozenset((row[0], row[1]) for row in rows)
