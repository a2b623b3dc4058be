"""What was read, and what is unread: counted from the messages themselves each time it is asked.

Unread of a conversation is what came after the reader's mark, is not the reader's own, is not
deleted, and is not from somebody the reader blocks. A count stops at 100, told as "99+", so a
conversation of a million messages costs what one of a hundred does. Rejected: counters; each edit,
delete, block and mark would have to keep all of them right, and two at once would not.

    mark_read(conn, 7, conversation_id, seq=12)
    count_unread(conn, 7)  # Unread(conversations=2, messages=5)
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec
from sqlalchemy import (
    Connection,
    and_,
    select,
    update,
)

from tidings.store.engine import database_now
from tidings.talk import events
from tidings.talk.errors import NoSuchMessageError, NotAMemberError
from tidings.talk.members import read_pair
from tidings.talk.outbox import put
from tidings.talk.tables import conversation, conversation_member

# Told as "99+".
MOST_COUNTED = 100
# Conversations of one statement.
CHUNK = 100
# Numbers alone are filled in.
_COUNT = (
    "SELECT {id}, COUNT(*) FROM (SELECT m.seq FROM message AS m WHERE m.conversation_id = {id} "
    "AND m.seq > {seq} AND m.sender_id <> {reader} AND m.deleted_at IS NULL AND m.sender_id "
    "NOT IN (SELECT b.blocked_id FROM reader_block AS b WHERE b.reader_id = {reader}) "
    "LIMIT {most}) AS unread"
)


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader's badge shows, without what is muted.

    Attributes:
        conversations: in how many something is unread, 0 to 100.
        messages: how many messages, 0 to 100.
    """

    conversations: int
    messages: int


def mark_read(conn: Connection, reader_id: int, conversation_id: int, *, seq: int) -> int:
    """Say that a reader has read up to seq; a mark never goes back.

    Returns:
        Where the mark is now.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
        NoSuchMessageError: no message has this seq yet.
    """
    member = conversation_member.c
    mine = and_(member.conversation_id == conversation_id, member.reader_id == reader_id)
    row = conn.execute(
        select(
            conversation.c.last_seq,
            conversation.c.direct_key,
            member.read_seq,
            database_now(conn).label("now"),
        )
        .select_from(
            conversation_member.join(conversation, conversation.c.id == member.conversation_id)
        )
        .where(mine)
    ).first()
    if row is None:
        raise NotAMemberError(conversation_id)
    if not 0 <= seq <= row.last_seq:
        raise NoSuchMessageError(seq)
    moved = conn.execute(
        update(conversation_member).where(mine, member.read_seq < seq).values(read_seq=seq)
    )
    if not moved.rowcount:
        return int(max(row.read_seq, seq))
    # In a group of 200, telling all of them of each other's marks would cost 40,000 pushes a
    # message; its marks are read with its members.
    to = read_pair(row.direct_key) or (reader_id,)
    event = events.Read(conversation_id=conversation_id, reader_id=reader_id, seq=seq)
    put(conn, [events.Entry.of(event, to=to)], now=row.now)
    return seq


def count_unread(conn: Connection, reader_id: int) -> Unread:
    """What is unread in a reader's conversations together, those that are muted left out."""
    member = conversation_member.c
    candidates = iter(
        conn.execute(
            select(conversation.c.id, member.read_seq, member.from_seq)
            .select_from(
                conversation_member.join(conversation, conversation.c.id == member.conversation_id)
            )
            .where(
                member.reader_id == reader_id,
                member.muted == 0,
                conversation.c.last_seq > member.read_seq,
            )
            .order_by(conversation.c.changed_at.desc())
        ).all()
    )
    conversations = messages = 0
    while conversations < MOST_COUNTED and (chunk := list(islice(candidates, CHUNK))):
        asked = {row.id: max(row.read_seq, row.from_seq) for row in chunk}
        found = [n for n in count_unread_in(conn, reader_id, asked).values() if n]
        conversations += len(found)
        messages += sum(found)
    return Unread(
        conversations=min(conversations, MOST_COUNTED), messages=min(messages, MOST_COUNTED)
    )


def count_unread_in(
    conn: Connection, reader_id: int, since: Mapping[int, int]
) -> Mapping[int, int]:
    """Conversation → how many messages above the seq given are unread, up to MOST_COUNTED."""
    if not since:
        return {}
    # Built as text, since SQLAlchemy needs 40 ms for a hundred of them, in which a node of the chat
    # does nothing else. Numbers of the database's own, so nothing has to be quoted; written out,
    # since MariaDB reads a whole conversation where the seq to begin after is another column.
    counts = [
        _COUNT.format(id=int(id_), seq=int(seq), reader=int(reader_id), most=MOST_COUNTED)
        for id_, seq in since.items()
    ]
    rows = conn.exec_driver_sql(" UNION ALL ".join(counts))
    return {row[0]: row[1] for row in rows}
