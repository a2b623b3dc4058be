"""What goes over the bus: the events that every node pushes to sockets, and how one is addressed.

An event is encoded once, in the transaction that causes it, and the same bytes travel through the
outbox, Redis and every socket: a node only puts the position in front. So a message to a thousand
sockets costs one encoding. A client tells events apart by `type`, and drops what it had: a message
by (conversation_id, seq), a notice by (audience, seq, times). Rejected: to send numbers of rows and
let each node read them; each event would cost a query a node.

    entry = Entry.of(Deleted(conversation_id=3, seq=12, at=now), to=(7, 9))
    entry.frame  # b'{"type":"deleted","conversation_id":3,"seq":12,"at":1795890234123}'
    redis.xadd(key, entry.fields())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

# The topic that all operators hear.
OPERATOR = "operator"


class Event(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower
):
    """What is told to sockets. `type` is the name of the class in small letters; moments are
    milliseconds since 1970."""


class Message(Event, frozen=True, kw_only=True):
    """A message was stored. Its sender's own sockets get it too, the one that sent it included.

    Attributes:
        cid: as its sender named it; with (sender_id, cid) a sender's page finds its own message.
        body: None, with `hidden`, for a reader who blocks the sender.
    """

    conversation_id: int
    seq: int
    sender_id: int
    cid: str
    body: str | None = None
    hidden: bool = False
    at: int


class Edited(Event, frozen=True, kw_only=True):
    """A message has another text. `body` and `hidden` as of `Message`."""

    conversation_id: int
    seq: int
    sender_id: int
    body: str | None = None
    hidden: bool = False
    edited_at: int


class Deleted(Event, frozen=True, kw_only=True):
    """A message has no text any more; its seq stays."""

    conversation_id: int
    seq: int
    at: int


class Read(Event, frozen=True, kw_only=True):
    """A reader has read up to seq. Of a group only the reader's own sockets are told."""

    conversation_id: int
    reader_id: int
    seq: int


class Conversation(Event, frozen=True, kw_only=True):
    """Something about a conversation changed.

    Attributes:
        change: `created`; `renamed`; `joined` or `left`, whom `reader_ids` names, by their own will
            or the owner's; `owner`, where `reader_ids` names the new one. A reader who left gets
            this one event, and no more.
        by: who did it.
        title: of a group, as it is now.
    """

    conversation_id: int
    change: Literal["created", "renamed", "joined", "left", "owner"]
    kind: Literal["direct", "group", "desk"]
    title: str
    by: int
    reader_ids: Sequence[int] = ()
    last_seq: int
    at: int


class NoticeShown(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as its reader sees it; its words are made from type, data and times.

    Attributes:
        audience: the reader, or 0 for all operators. (audience, seq) names a notice for ever.
        seq: grows with each notice of an audience; numbers may be left out.
        subject: what it is about, as `order:42`.
        times: how often it happened; above 1 it is one notice that grew.
    """

    audience: int
    seq: int
    type: str
    subject: str
    data: Mapping[str, Any]
    times: int
    at: int


class Notice(Event, frozen=True, kw_only=True):
    """A notice is new, or happened again."""

    notice: NoticeShown


class NoticesRead(Event, frozen=True, kw_only=True, tag="notices_read"):
    """The reader has read the notices of an audience up to seq."""

    audience: int
    seq: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An event with its address, as the outbox and the bus carry it.

    Attributes:
        frame: the event as JSON, which begins with `{"type":`; it has no position yet.
        to: reader ids and topics with commas between: `7,9,article:42`.
        hid: reader ids among them who get `hide(frame)`.
        live: never replayed: typing, presence.
    """

    frame: bytes
    to: str
    hid: str = ""
    live: bool = False

    @classmethod
    def of(cls, event: Event, *, to: Iterable[int | str], hid: Iterable[int] = ()) -> Entry:
        """An event for these readers and topics."""
        return cls(encode(event), ",".join(map(str, to)), ",".join(map(str, hid)))

    def fields(self) -> dict[str, str | bytes]:
        """As XADD takes it."""
        fields: dict[str, str | bytes] = {"f": self.frame, "to": self.to}
        if self.hid:
            fields["hid"] = self.hid
        if self.live:
            fields["live"] = "1"
        return fields

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> Entry:
        """From what XREAD gives.

        Raises:
            KeyError: it is no entry of ours.
        """
        return cls(
            fields[b"f"],
            fields[b"to"].decode(),
            fields.get(b"hid", b"").decode(),
            fields.get(b"live") == b"1",
        )


_encoder = msgspec.json.Encoder()
encode = _encoder.encode


def hide(frame: bytes) -> bytes:
    """A frame as a reader gets it who blocks its sender: `hidden` in place of the text."""
    said = msgspec.json.decode(frame)
    said.pop("body", None)
    return _encoder.encode(said | {"hidden": True})
