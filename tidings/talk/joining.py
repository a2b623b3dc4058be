"""Groups as people come and go: members added, removed, and leaving by themselves.

A new member sees what is written from then on; one who comes back, too. The owner adds and removes;
each member may leave. Rejected: every member may add others; a group of 200 would fill itself.

    add_members(conn, 7, conversation_id, member_ids=[15])
    leave(conn, 7, conversation_id)
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select, update

from tidings.talk.conversations import check_invited, check_owner, insert_members, tell_change
from tidings.talk.errors import InvalidError, NotAMemberError
from tidings.talk.members import BETWEEN_TWO, MOST_MEMBERS, Locked, lock
from tidings.talk.tables import conversation_member


def add_members(
    conn: Connection, reader_id: int, conversation_id: int, *, member_ids: Collection[int]
) -> None:
    """Take readers into a group; those who are in it already stay as they are.

    Raises:
        TalkError: invalid, not_a_member, not_yours or blocked.
    """
    held = lock(conn, conversation_id, reader_id)
    check_owner(held, "add members")
    there = _find_ids(conn, conversation_id)
    new = set(member_ids) - there
    if not new:
        return
    check_invited(conn, reader_id, new)
    if len(there) + len(new) > MOST_MEMBERS:
        raise InvalidError(f"a group has at most {MOST_MEMBERS} members")
    roles = dict.fromkeys(new, "member")
    insert_members(conn, conversation_id, roles, from_seq=held.last_seq, now=held.now)
    tell_change(conn, held, "joined", by=reader_id, reader_ids=sorted(new))


def remove_member(
    conn: Connection, reader_id: int, conversation_id: int, *, member_id: int
) -> None:
    """Take a member out of a group; removing oneself is to leave it.

    Raises:
        TalkError: invalid, not_a_member (the other is none, too) or not_yours.
    """
    if member_id == reader_id:
        leave(conn, reader_id, conversation_id)
        return
    held = lock(conn, conversation_id, reader_id)
    check_owner(held, "remove members")
    _take_out(conn, held, member_id, by=reader_id)


def leave(conn: Connection, reader_id: int, conversation_id: int) -> None:
    """Leave a group; of a conversation between two, forget for oneself what was written so far.

    Raises:
        NotAMemberError: it does not exist, or this reader is no member.
    """
    held = lock(conn, conversation_id, reader_id)
    if held.kind not in BETWEEN_TWO:
        _take_out(conn, held, reader_id, by=reader_id)
        return
    member = conversation_member.c
    conn.execute(
        update(conversation_member)
        .where(member.conversation_id == conversation_id, member.reader_id == reader_id)
        .values(from_seq=held.last_seq, read_seq=held.last_seq)
    )


def _take_out(conn: Connection, held: Locked, member_id: int, *, by: int) -> None:
    member = conversation_member.c
    gone = conn.execute(
        delete(conversation_member).where(
            member.conversation_id == held.conversation_id, member.reader_id == member_id
        )
    )
    if not gone.rowcount:
        raise NotAMemberError(held.conversation_id)
    tell_change(conn, held, "left", by=by, reader_ids=[member_id], besides=[member_id])
    if member_id == by and held.role == "owner":
        _find_owner(conn, held)


def _find_owner(conn: Connection, held: Locked) -> None:
    """The oldest member owns a group that its owner left."""
    member = conversation_member.c
    heir = conn.scalar(
        select(member.reader_id)
        .where(member.conversation_id == held.conversation_id)
        .order_by(member.joined_at, member.reader_id)
        .limit(1)
    )
    if heir is None:
        return
    conn.execute(
        update(conversation_member)
        .where(member.conversation_id == held.conversation_id, member.reader_id == heir)
        .values(role="owner")
    )
    tell_change(conn, held, "owner", by=heir, reader_ids=[heir])


def _find_ids(conn: Connection, conversation_id: int) -> set[int]:
    member = conversation_member.c
    return set(
        conn.scalars(select(member.reader_id).where(member.conversation_id == conversation_id))
    )
