"""Messages that are stored: read page by page, edited within five minutes, deleted.

A deleted message keeps its row and seq without its text, so that a client that counts seqs sees no
gap. Each page walks a stretch of the primary key. Rejected: pages by moment; two messages may have
the same one.

    find_messages(conn, 7, conversation_id, before=120, limit=50)  # seqs 119, 118, …
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, and_, select, update

from tidings.process.clock import milliseconds
from tidings.talk import events
from tidings.talk.errors import NoSuchMessageError, NotYoursError, TooLateError
from tidings.talk.members import (
    Audience,
    Locked,
    check_member,
    find_audience,
    lock,
    lock_conversations,
)
from tidings.talk.outbox import put
from tidings.talk.sending import check_body
from tidings.talk.tables import conversation_member, message, reader_block

EDITABLE = timedelta(minutes=5)


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as one reader sees it.

    Attributes:
        cid: of the reader's own messages; None of others'.
        body: None of a deleted message, and of one whose sender the reader blocks.
        hidden: the reader blocks its sender.
    """

    conversation_id: int
    seq: int
    sender_id: int
    cid: str | None
    body: str | None
    hidden: bool
    at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """A message has this text now."""

    conversation_id: int
    seq: int
    body: str
    edited_at: datetime


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """A message has no text any more, since `at`."""

    conversation_id: int
    seq: int
    at: datetime


def find_messages(
    conn: Connection,
    reader_id: int,
    conversation_id: int,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[ShownMessage]:
    """A page of a conversation, of what came after the reader did.

    Args:
        before: the newest below this seq, newest first; what a page of history asks for.
        after: the oldest above this seq, oldest first, in place of `before`; what fills a gap.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    from_seq = check_member(conn, reader_id, conversation_id)
    floor = from_seq if after is None else max(from_seq, after)
    query = select_shown(reader_id).where(
        message.c.conversation_id == conversation_id, message.c.seq > floor
    )
    if before is not None:
        query = query.where(message.c.seq < before)
    order = message.c.seq.desc() if after is None else message.c.seq
    rows = conn.execute(query.order_by(order).limit(limit))
    return [to_shown(row, reader_id) for row in rows]


def edit(conn: Connection, reader_id: int, conversation_id: int, *, seq: int, body: str) -> Edited:
    """Give a message of one's own another text, within EDITABLE of its sending.

    Raises:
        TalkError: invalid, too_long, not_a_member, no_such_message, not_yours or too_late.
    """
    check_body(body)
    held = lock(conn, conversation_id, reader_id)
    row = _find_own(conn, reader_id, held, seq)
    if row.deleted_at is not None:
        raise NoSuchMessageError(seq)
    if row.body == body:
        at = row.edited_at or row.at
        return Edited(conversation_id=conversation_id, seq=seq, body=body, edited_at=at)
    if held.now > row.at + EDITABLE:
        raise TooLateError("a message can be edited for five minutes after it was sent")
    _change(conn, conversation_id, seq, body=body, edited_at=held.now)
    event = events.Edited(
        conversation_id=conversation_id,
        seq=seq,
        sender_id=reader_id,
        body=body,
        edited_at=milliseconds(held.now),
    )
    audience = find_audience(conn, conversation_id, sender_id=reader_id)
    to = _who_saw(conn, conversation_id, seq, audience)
    put(conn, [events.Entry.of(event, to=to, hid=audience.hid)], now=held.now)
    return Edited(conversation_id=conversation_id, seq=seq, body=body, edited_at=held.now)


def delete(conn: Connection, reader_id: int, conversation_id: int, *, seq: int) -> Deleted:
    """Take the text from a message of one's own; deleting it again changes nothing.

    Raises:
        TalkError: not_a_member, no_such_message or not_yours.
    """
    held = lock(conn, conversation_id, reader_id)
    row = _find_own(conn, reader_id, held, seq)
    if row.deleted_at is None:
        _take_text(conn, conversation_id, seq, sender_id=reader_id, now=held.now)
    return Deleted(conversation_id=conversation_id, seq=seq, at=row.deleted_at or held.now)


def delete_unasked(conn: Connection, conversation_id: int, seq: int) -> None:
    """Take the text from a message, for an operator; one that has none is left as it is."""
    held = lock_conversations(conn, [conversation_id]).get(conversation_id)
    row = conn.execute(_select_one(conversation_id, seq)).first()
    if held is not None and row is not None and row.deleted_at is None:
        _take_text(conn, conversation_id, seq, sender_id=row.sender_id, now=held.now)


def select_shown(reader_id: int) -> Select[Any]:
    """A SELECT of messages with what `to_shown` needs, `blocked_id` for blocked senders."""
    is_blocked = and_(
        reader_block.c.reader_id == reader_id, reader_block.c.blocked_id == message.c.sender_id
    )
    return select(message, reader_block.c.blocked_id).select_from(
        message.outerjoin(reader_block, is_blocked)
    )


def to_shown(row: Row[Any], reader_id: int) -> ShownMessage:
    """A row of `select_shown` as the reader sees it."""
    is_hidden = row.blocked_id is not None
    return ShownMessage(
        conversation_id=row.conversation_id,
        seq=row.seq,
        sender_id=row.sender_id,
        cid=row.cid if row.sender_id == reader_id else None,
        body=None if is_hidden or row.deleted_at is not None else row.body,
        hidden=is_hidden,
        at=row.at,
        edited_at=row.edited_at,
        deleted_at=row.deleted_at,
    )


def _find_own(conn: Connection, reader_id: int, held: Locked, seq: int) -> Row[Any]:
    row = conn.execute(_select_one(held.conversation_id, seq)).first()
    if row is None or seq <= held.from_seq:
        raise NoSuchMessageError(seq)
    if row.sender_id != reader_id:
        raise NotYoursError("this message is another reader's")
    return row


def _select_one(conversation_id: int, seq: int) -> Select[Any]:
    return select(message).where(message.c.conversation_id == conversation_id, message.c.seq == seq)


def _take_text(
    conn: Connection, conversation_id: int, seq: int, *, sender_id: int, now: datetime
) -> None:
    _change(conn, conversation_id, seq, body="", deleted_at=now)
    event = events.Deleted(conversation_id=conversation_id, seq=seq, at=milliseconds(now))
    audience = find_audience(conn, conversation_id, sender_id=sender_id)
    to = _who_saw(conn, conversation_id, seq, audience)
    put(conn, [events.Entry.of(event, to=to)], now=now)


def _who_saw(conn: Connection, conversation_id: int, seq: int, audience: Audience) -> list[int]:
    """Those of an audience whose history has this message; it was written before others came."""
    member = conversation_member.c
    saw = set(
        conn.scalars(
            select(member.reader_id).where(
                member.conversation_id == conversation_id, member.from_seq < seq
            )
        )
    )
    return [reader_id for reader_id in audience.to if reader_id in saw]


def _change(conn: Connection, conversation_id: int, seq: int, **values: Any) -> None:
    conn.execute(
        update(message)
        .where(message.c.conversation_id == conversation_id, message.c.seq == seq)
        .values(values)
    )
