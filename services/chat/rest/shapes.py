"""Conversations and messages as they are sent: moments in milliseconds since 1970.

The rules below work with moments of the database; on the wire they are numbers, here as in frames
and at the gateway. Rejected: the rules' own structs as answers; a field that a rule adds would be
published by that.

    answer_json(resp, show_conversation(read_conversation(conn, 7, 3)))
"""

from __future__ import annotations

import msgspec

from tidings.process.clock import milliseconds
from tidings.talk.conversations import ShownConversation
from tidings.talk.history import ShownMessage


class MessageShown(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the caller sees it.

    `body` is null where it was deleted, and where the caller blocks its sender, which `hidden`
    says. `cid` is told of the caller's own messages alone.
    """

    conversation_id: int
    seq: int
    sender_id: int
    cid: str | None
    body: str | None
    hidden: bool
    at: int
    edited_at: int | None
    deleted_at: int | None


class ConversationShown(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as one of its members sees it.

    `kind` is `direct`, `group` or `desk`, and `other_id` the other one in all but groups. `unread`
    is 0 to 100, 100 being 100 or more. Messages with a `seq` above `from_seq` can be read; `last`
    is the newest of them.
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
    last: MessageShown | None
    changed_at: int


def show_message(message: ShownMessage) -> MessageShown:
    """A message as it is sent."""
    edited_at, deleted_at = message.edited_at, message.deleted_at
    return MessageShown(
        conversation_id=message.conversation_id,
        seq=message.seq,
        sender_id=message.sender_id,
        cid=message.cid,
        body=message.body,
        hidden=message.hidden,
        at=milliseconds(message.at),
        edited_at=None if edited_at is None else milliseconds(edited_at),
        deleted_at=None if deleted_at is None else milliseconds(deleted_at),
    )


def show_conversation(conversation: ShownConversation) -> ConversationShown:
    """A conversation as it is sent."""
    last = conversation.last
    return ConversationShown(
        conversation_id=conversation.conversation_id,
        kind=conversation.kind,
        title=conversation.title,
        other_id=conversation.other_id,
        members=conversation.members,
        role=conversation.role,
        muted=conversation.muted,
        read_seq=conversation.read_seq,
        from_seq=conversation.from_seq,
        last_seq=conversation.last_seq,
        unread=conversation.unread,
        last=None if last is None else show_message(last),
        changed_at=milliseconds(conversation.changed_at),
    )
