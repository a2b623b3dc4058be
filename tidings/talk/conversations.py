"""Conversations: started between two, in a group or with the editor's desk; listed, renamed, left.

Two readers have one conversation, however often and from whichever side it is started: its key is
their ids. It is listed for a reader once something was written that they may see, so starting one
disturbs no other. Leaving it empties it for the one who leaves, and the next message brings it
back; a group that is left is gone, and its oldest member becomes the owner if there was none left.
Rejected: a second row for a pair whose one side left; a reader would then search two histories.

    made = start_direct(conn, 7, 9)  # inside `transact`, as everything here that writes
    start_group(conn, 7, title="Friday", member_ids=[9, 12])
    find_conversations(conn, 7, limit=20)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from tidings.process.clock import milliseconds
from tidings.store.metadata import MOST_ID
from tidings.talk import events
from tidings.talk.blocks import is_blocked_between
from tidings.talk.errors import (
    BlockedError,
    InvalidError,
    NotAMemberError,
    NotYoursError,
    QuotaError,
)
from tidings.talk.history import ShownMessage, select_shown, to_shown
from tidings.talk.inboxes import take_turn
from tidings.talk.marks import count_unread_in
from tidings.talk.members import (
    BETWEEN_TWO,
    DESK_ID,
    MOST_MEMBERS,
    Locked,
    check_member,
    find_audience,
    lock,
    name_pair,
    read_pair,
)
from tidings.talk.outbox import put
from tidings.talk.tables import conversation, conversation_member, message

MOST_TITLE = 100
# A person who is busy writes to a handful of new people a day. A program that writes to everybody
# comes to 50 of them, and a site's operator can revoke its key before the second day.
MOST_STARTED = 50
STARTED_WITHIN = timedelta(days=1)


class ShownConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as one of its members sees it.

    Attributes:
        kind: `direct`, `group` or `desk`.
        title: of a group; empty for the others.
        other_id: of a direct conversation or the desk, the other one; None of a group.
        members: how many there are.
        role: the reader's own, `owner` or `member`.
        from_seq: the reader sees messages after it.
        unread: 0 to 100; 100 is told as "99+".
        last: the newest message, if the reader may see it.
        changed_at: when the newest message came; lists go by it.
    """

    conversation_id: int
    kind: str
    title: str
    other_id: int | None
    members: int
    role: str
    muted: bool
    read_seq: int
    from_seq: int
    last_seq: int
    unread: int
    last: ShownMessage | None
    changed_at: datetime


def start_direct(conn: Connection, reader_id: int, other_id: int) -> ShownConversation:
    """The conversation of two readers; made if there is none yet.

    Raises:
        TalkError: invalid, blocked or quota.
    """
    if other_id in (reader_id, DESK_ID) or not 1 <= other_id <= MOST_ID:
        raise InvalidError(f"a conversation with {other_id} cannot be started")
    if is_blocked_between(conn, reader_id, [other_id]):
        raise BlockedError
    return _start_between(conn, reader_id, other_id, kind="direct")


def start_desk(conn: Connection, reader_id: int) -> ShownConversation:
    """The reader's conversation with the editor's desk; made if there is none yet.

    Raises:
        QuotaError: the reader started MOST_STARTED conversations in the last day.
    """
    return _start_between(conn, reader_id, DESK_ID, kind="desk")


def start_group(
    conn: Connection, reader_id: int, *, title: str, member_ids: Collection[int]
) -> ShownConversation:
    """A new group, which the reader owns; up to MOST_MEMBERS with the reader.

    Raises:
        TalkError: invalid, blocked or quota.
    """
    others = set(member_ids) - {reader_id}
    title = check_title(title)
    check_invited(conn, reader_id, others)
    if len(others) + 1 > MOST_MEMBERS:
        raise InvalidError(f"a group has at most {MOST_MEMBERS} members")
    now = _check_quota(conn, reader_id)
    conversation_id = _insert(
        conn, {"kind": "group", "title": title, "direct_key": None}, reader_id, now=now
    )
    roles = dict.fromkeys(sorted(others), "member") | {reader_id: "owner"}
    insert_members(conn, conversation_id, roles, from_seq=0, now=now)
    event = events.Conversation(
        conversation_id=conversation_id,
        change="created",
        kind="group",
        title=title,
        by=reader_id,
        reader_ids=sorted(roles),
        last_seq=0,
        at=milliseconds(now),
    )
    put(conn, [events.Entry.of(event, to=sorted(roles))], now=now)
    return read_conversation(conn, reader_id, conversation_id)


def read_conversation(conn: Connection, reader_id: int, conversation_id: int) -> ShownConversation:
    """One conversation.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    query = _select_mine(reader_id).where(conversation.c.id == conversation_id)
    rows = conn.execute(query).all()
    if not rows:
        raise NotAMemberError(conversation_id)
    return _show(conn, reader_id, rows)[0]


def find_conversations(
    conn: Connection,
    reader_id: int,
    *,
    before: tuple[datetime, int] | None = None,
    limit: int = 20,
) -> list[ShownConversation]:
    """A reader's conversations, the one that was written in last first.

    Args:
        before: (changed_at, conversation_id) of the last one of the page before.
    """
    by_change = (conversation.c.changed_at, conversation.c.id)
    has_something = conversation.c.last_seq > conversation_member.c.from_seq
    query = _select_mine(reader_id).where(or_(conversation.c.kind == "group", has_something))
    if before is not None:
        changed_at, id_ = before
        query = query.where(
            or_(by_change[0] < changed_at, and_(by_change[0] == changed_at, by_change[1] < id_))
        )
    newest_first = (by_change[0].desc(), by_change[1].desc())
    rows = conn.execute(query.order_by(*newest_first).limit(limit)).all()
    return _show(conn, reader_id, rows)


def rename(conn: Connection, reader_id: int, conversation_id: int, *, title: str) -> None:
    """Give a group another title; its owner may.

    Raises:
        TalkError: invalid, not_a_member or not_yours.
    """
    title = check_title(title)
    held = lock(conn, conversation_id, reader_id)
    check_owner(held, "rename it")
    if title == held.title:
        return
    conn.execute(
        update(conversation).where(conversation.c.id == conversation_id).values(title=title)
    )
    tell_change(conn, msgspec.structs.replace(held, title=title), "renamed", by=reader_id)


def mute(conn: Connection, reader_id: int, conversation_id: int) -> None:
    """Leave a conversation out of the reader's badge.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    _set_mine(conn, reader_id, conversation_id, muted=1)


def unmute(conn: Connection, reader_id: int, conversation_id: int) -> None:
    """Count a conversation in the reader's badge again.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    _set_mine(conn, reader_id, conversation_id, muted=0)


def check_title(title: str) -> str:
    """A title without blanks around it.

    Raises:
        InvalidError: it is empty, or longer than MOST_TITLE.
    """
    title = title.strip()
    if not 1 <= len(title) <= MOST_TITLE:
        raise InvalidError(f"a title has 1 to {MOST_TITLE} characters")
    return title


def check_invited(conn: Connection, reader_id: int, invited: Collection[int]) -> None:
    """See that these may be taken into a group by this reader.

    Raises:
        TalkError: invalid or blocked.
    """
    if not all(1 <= id_ <= MOST_ID and id_ != DESK_ID for id_ in invited):
        raise InvalidError("one of these ids is no reader's")
    if is_blocked_between(conn, reader_id, invited):
        raise BlockedError("you and one of these readers block each other")


def check_owner(held: Locked, what: str) -> None:
    """See that a conversation is a group that the asking reader owns.

    Raises:
        TalkError: invalid or not_yours.
    """
    if held.kind in BETWEEN_TWO:
        raise InvalidError("this conversation is no group")
    if held.role != "owner":
        raise NotYoursError(f"only the owner of a group may {what}")


def insert_members(
    conn: Connection,
    conversation_id: int,
    roles: Mapping[int, str],
    *,
    from_seq: int,
    now: datetime,
) -> None:
    """Add members, reader id → role, who see what comes after from_seq."""
    rows = [
        {
            "conversation_id": conversation_id,
            "reader_id": reader_id,
            "role": role,
            "read_seq": from_seq,
            "from_seq": from_seq,
            "muted": 0,
            "joined_at": now,
        }
        for reader_id, role in sorted(roles.items())
    ]
    conn.execute(insert(conversation_member), rows)


def tell_change(
    conn: Connection,
    held: Locked,
    change: Any,
    *,
    by: int,
    reader_ids: Sequence[int] = (),
    besides: Sequence[int] = (),
) -> None:
    """Tell the members, and readers `besides`, what changed about a conversation."""
    event = events.Conversation(
        conversation_id=held.conversation_id,
        change=change,
        kind=held.kind,  # type: ignore[arg-type]
        title=held.title,
        by=by,
        reader_ids=reader_ids,
        last_seq=held.last_seq,
        at=milliseconds(held.now),
    )
    audience = find_audience(conn, held.conversation_id, sender_id=by)
    put(conn, [events.Entry.of(event, to=(*audience.to, *besides))], now=held.now)


def _start_between(
    conn: Connection, reader_id: int, other_id: int, *, kind: str
) -> ShownConversation:
    key = name_pair(reader_id, other_id)
    known = select(conversation.c.id).where(conversation.c.direct_key == key)
    conversation_id = conn.scalar(known)
    if conversation_id is None:
        now = _check_quota(conn, reader_id)
        # A second look, under the reader's turn; the other one's start violates the key.
        conversation_id = conn.scalar(known)
        if conversation_id is None:
            made = {"kind": kind, "title": "", "direct_key": key}
            conversation_id = _insert(conn, made, reader_id, now=now)
            roles = {reader_id: "member", other_id: "member"}
            insert_members(conn, conversation_id, roles, from_seq=0, now=now)
    return read_conversation(conn, reader_id, conversation_id)


def _check_quota(conn: Connection, reader_id: int) -> datetime:
    now = take_turn(conn, reader_id)
    query = select(func.count()).where(
        conversation.c.created_by == reader_id, conversation.c.created_at > now - STARTED_WITHIN
    )
    if (conn.scalar(query) or 0) >= MOST_STARTED:
        raise QuotaError(f"you have started {MOST_STARTED} conversations within a day")
    return now


def _insert(conn: Connection, values: Mapping[str, Any], reader_id: int, *, now: datetime) -> int:
    row = {**values, "last_seq": 0, "created_by": reader_id, "created_at": now, "changed_at": now}
    key = conn.execute(insert(conversation).values(row)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _set_mine(conn: Connection, reader_id: int, conversation_id: int, **values: Any) -> None:
    check_member(conn, reader_id, conversation_id)
    member = conversation_member.c
    mine = and_(member.conversation_id == conversation_id, member.reader_id == reader_id)
    conn.execute(update(conversation_member).where(mine).values(values))


def _select_mine(reader_id: int) -> Any:
    member = conversation_member.c
    return (
        select(
            conversation,
            member.role,
            member.muted,
            member.read_seq,
            member.from_seq,
        )
        .select_from(
            conversation_member.join(conversation, conversation.c.id == member.conversation_id)
        )
        .where(member.reader_id == reader_id)
    )


def _show(conn: Connection, reader_id: int, rows: Sequence[Row[Any]]) -> list[ShownConversation]:
    if not rows:
        return []
    ids = [row.id for row in rows]
    member = conversation_member.c
    counts = select(member.conversation_id, func.count()).where(member.conversation_id.in_(ids))
    by_id = conn.execute(counts.group_by(member.conversation_id))
    members = {row[0]: row[1] for row in by_id}
    newest = or_(
        *[and_(message.c.conversation_id == row.id, message.c.seq == row.last_seq) for row in rows]
    )
    lasts = {
        row.conversation_id: row for row in conn.execute(select_shown(reader_id).where(newest))
    }
    since = {row.id: max(row.read_seq, row.from_seq) for row in rows if row.last_seq > row.read_seq}
    unread = count_unread_in(conn, reader_id, since)
    return [
        ShownConversation(
            conversation_id=row.id,
            kind=row.kind,
            title=row.title,
            other_id=_other(row.direct_key, reader_id),
            members=members[row.id],
            role=row.role,
            muted=bool(row.muted),
            read_seq=row.read_seq,
            from_seq=row.from_seq,
            last_seq=row.last_seq,
            unread=unread.get(row.id, 0),
            last=to_shown(lasts[row.id], reader_id) if row.last_seq > row.from_seq else None,
            changed_at=row.changed_at,
        )
        for row in rows
    ]


def _other(direct_key: str | None, reader_id: int) -> int | None:
    return next((id_ for id_ in read_pair(direct_key) if id_ != reader_id), None)
