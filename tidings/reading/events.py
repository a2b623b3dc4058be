"""An entry of the behaviour log: what a reader did, where, when, and how that came about.

An event says all that its token or the reader's request said, and an exposure the articles of its
batch besides, so that whatever reads the log, now or in ten minutes, needs nothing else. In msgpack
and as arrays: sixty bytes an event. The order of the fields is a promise, and new ones come last.
Rejected: JSON, in which packed article ids grow by a third; and looking a batch up when its
exposure is folded, when it may be gone.

    decode(encode([event])).events  # [Event(action=<Action.CLICK: 1>, reader_id=7, ...)]
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec

from tidings.reading.acts import Action
from tidings.reading.tracking import Shown

MAX_READ_MS = 24 * 3600 * 1000
MOST_ARTICLES = 255
# Acts that a reader does once with an article, and takes back: a second one is a repeat.
MARKS = (Action.COLLECT, Action.LIKING, Action.DISLIKE)

# What no table can hold is undecodable too: one such entry would fail every fold that meets it, for
# ever.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Target(IntEnum):
    """What a mark is on. The numbers stand in the log and in SQL."""

    ARTICLE = 0
    AUTHOR = 1
    CHANNEL = 2


class Event(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What happened.

    Attributes:
        stamp_ms: of the batch; 0 where there was none.
        at_ms: when, as far as the reader's clock is believed.
        undone: the act is taken back.
        target: what a mark is on. `article_id` is 0 for authors and channels.
        target_id: number of that author or channel.
        by_token: False for a mark that a request set or took back, of no batch: it may be set
            again.
        packed_ids: of an exposure, the ids of its batch, 8 bytes each, little-endian.
        sources: of an exposure, a byte an article.
        unreturned: the reader's id had not come back when it was reported: it counts for the
            reader, and in nothing that others are shown.
    """

    action: Action
    reader_id: _Int64
    channel_id: _Int32
    stamp_ms: _Int64
    article_id: _Int64
    position: _Byte
    at_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    read_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_READ_MS)] | None = None
    source: _Byte = 0
    variant: _Byte = 0
    context: _Byte = 0
    undone: bool = False
    target: Target = Target.ARTICLE
    target_id: _Int64 = 0
    by_token: bool = True
    packed_ids: Annotated[bytes, msgspec.Meta(max_length=8 * MOST_ARTICLES)] = b""
    sources: Annotated[bytes, msgspec.Meta(max_length=MOST_ARTICLES)] = b""
    unreturned: bool = False

    @property
    def event_id(self) -> bytes:
        """That of its token."""
        return Shown(
            self.action,
            self.reader_id,
            self.channel_id,
            self.stamp_ms,
            self.article_id,
            self.position,
        ).event_id

    @property
    def article_ids(self) -> array[int]:
        """Of an exposure: what was shown, in order."""
        return unpack_ids(self.packed_ids)


def pack_ids(ids: Sequence[int]) -> bytes:
    """Ids, 8 bytes each."""
    return array("q", ids).tobytes()


def unpack_ids(packed: bytes) -> array[int]:
    """What `pack_ids` packed."""
    ids = array("q")
    ids.frombytes(packed[: len(packed) // 8 * 8])
    return ids


encode = msgspec.msgpack.Encoder().encode
_all = msgspec.msgpack.Decoder(list[Event])
_each = msgspec.msgpack.Decoder(list[msgspec.Raw])
_one = msgspec.msgpack.Decoder(Event)
_before = msgspec.json.Decoder(Event)


class Decoded(NamedTuple):
    """The events of an entry, and what of it is none: an event of a newer release, say."""

    events: list[Event]
    refused: list[tuple[bytes, msgspec.MsgspecError]]


def decode(raw: bytes) -> Decoded:
    """The events of an entry.

    Raises:
        msgspec.MsgspecError: it is no entry at all.
    """
    try:
        return Decoded(_all.decode(raw), [])
    except msgspec.MsgspecError:
        decoded = Decoded([], [])
    for piece in _each.decode(raw):
        try:
            decoded.events.append(_one.decode(piece))
        except msgspec.MsgspecError as ex:
            decoded.refused.append((bytes(piece), ex))
    return decoded


def decode_before(raw: bytes) -> Event:
    """The event of an entry that a gateway of the release before wrote.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _before.decode(raw)
