"""What is said over a socket, one shape a frame: what a client may say, and what a server says to
one socket alone.

A frame is a JSON object whose `type` tells its shape. A field that the shape does not have is
refused: a misspelt one that is silently dropped is a message that its sender believes in. What goes
to many, over the bus, has its shapes in `tidings/talk/events.py`. Rejected: JSON-RPC, whose
envelope is longer than most of these.

    frame = read_frame(b'{"type":"read","conversation_id":7,"seq":12}')
    frame  # Read(conversation_id=7, seq=12, ref=None)
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from tidings.readers.tickets import MOST_CHARS
from tidings.store.metadata import MOST_ID

_Id: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_ID)]
# A name of the client's own: a UUID has 36 characters.
_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
# An article's or a reader's number, and a word before it.
_Topic: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
# What a page has open at a time, with room; hello takes as many as a socket may follow.
MOST_TOPICS = 20
_Topics: TypeAlias = Annotated[tuple[_Topic, ...], Meta(max_length=MOST_TOPICS)]


class _FromClient(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True
):
    """Attributes:
    ref: the client's own name for this frame; the answer bears it.
    """

    ref: _Name | None = None


class Hello(_FromClient, frozen=True, tag="hello"):
    """The first frame: who it is, and up to where it knows.

    Attributes:
        pos: of the last frame that was processed, to go on from there.
        topics: to be followed from there on as well.
    """

    ticket: Annotated[str, Meta(max_length=MOST_CHARS)]
    pos: Annotated[str, Meta(max_length=64)] | None = None
    topics: _Topics = ()


class Send(_FromClient, frozen=True, tag="send"):
    """A new message. Sent again with the same `cid`, it is the same message."""

    cid: _Name
    conversation_id: _Id
    body: str


class Edit(_FromClient, frozen=True, tag="edit"):
    """Other words for a message of one's own."""

    conversation_id: _Id
    seq: _Id
    body: str


class Delete(_FromClient, frozen=True, tag="delete"):
    """A message of one's own is taken back."""

    conversation_id: _Id
    seq: _Id


class Read(_FromClient, frozen=True, tag="read"):
    """Everything up to `seq` was seen."""

    conversation_id: _Id
    seq: _Id


class ReadNotices(_FromClient, frozen=True, tag="read_notices"):
    """Every notice up to `seq` was seen.

    Attributes:
        audience: 0 for the operators' inbox; the reader's own otherwise.
    """

    seq: _Id
    audience: _Id | None = None


class Typing(_FromClient, frozen=True, tag="typing"):
    """The reader is writing."""

    conversation_id: _Id


class Subscribe(_FromClient, frozen=True, tag="subscribe"):
    """From here on also what happens there: `article:42`, `operator`, `presence:READER`."""

    topic: _Topic


class Unsubscribe(_FromClient, frozen=True, tag="unsubscribe"):
    """The opposite of subscribe."""

    topic: _Topic


class Ping(_FromClient, frozen=True, tag="ping"):
    """A page cannot send a ping of the protocol, and may want to know whether it is connected."""


# What is handed to a host, and all that is read.
ClientFrame: TypeAlias = (
    Send | Edit | Delete | Read | ReadNotices | Typing | Subscribe | Unsubscribe
)
AnyFrame: TypeAlias = ClientFrame | Hello | Ping


class Unread(msgspec.Struct, frozen=True):
    """How many conversations and notices wait."""

    conversations: int
    notices: int


class _FromServer(
    msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True
): ...


class Welcome(_FromServer, frozen=True, tag="welcome"):
    """The answer to hello.

    Attributes:
        pos: from where on everything will come.
        recovered: all that was missed since hello's `pos` follows; if not, the client reads the
            state anew by REST.
        unread: unless it recovered, when what follows tells it.
    """

    reader_id: int
    pos: str
    recovered: bool
    unread: Unread | None = None


class Ack(_FromServer, frozen=True, tag="ack"):
    """A message is stored, and will not be lost.

    Attributes:
        at: ms since the epoch.
    """

    cid: str
    conversation_id: int
    seq: int
    at: int
    ref: str | None = None


class Ok(_FromServer, frozen=True, tag="ok"):
    """What a frame with this `ref` asked for is done."""

    ref: str


class Failed(_FromServer, frozen=True, tag="error"):
    """What a frame asked for is not done; the socket stays open.

    Attributes:
        code: for programs; `message` is for people.
        retry_after_ms: the same frame may be sent again then.
    """

    code: str
    message: str
    ref: str | None = None
    cid: str | None = None
    retry_after_ms: int | None = None


class Reset(_FromServer, frozen=True, tag="reset"):
    """What came before is not to be relied on: the client reads the state anew by REST."""

    reason: str
    pos: str | None = None


class Bye(_FromServer, frozen=True, tag="bye"):
    """The server closes next, and asks to be left alone for so long."""

    retry_after_ms: int


class Pong(_FromServer, frozen=True, tag="pong"):
    """The answer to ping."""

    ref: str | None = None


_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame)


class BadFrameError(Exception):
    """A message is no JSON, or no frame that a client may send."""


def read_frame(message: bytes) -> AnyFrame:
    """What a client said.

    Raises:
        BadFrameError: it is no frame.
    """
    try:
        return _decoder.decode(message)
    except (msgspec.MsgspecError, RecursionError) as ex:
        raise BadFrameError(str(ex)) from None
