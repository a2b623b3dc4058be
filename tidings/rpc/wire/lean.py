"""The same bytes as the stock header protocol, for a fraction of its instructions.

What calls are made of nearly always is one frame in binary, with the header protocol or without,
that arrives whole. Such a frame is taken apart here with a handful of `struct` calls and handed to
Thrift's C codec, which does the rest. All else (compact, unframed, transforms, headers of an
unusual shape) is given back unread to the stock protocol, which then serves that connection to its
end. Nothing of Thrift is replaced: this is a protocol like any other.

    name, kind, seqid = message.take_apart(frame)
"""

from __future__ import annotations

import struct
from functools import lru_cache
from io import BytesIO

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import CReadableTransport, TTransportBase, TTransportException

from tidings.rpc.wire import headers as header_block
from tidings.rpc.wire.headers import BUDGET, CALLER, REQUEST_ID, UnusualError

_VERSION_1 = 0x80010000
_VERSION_MASK = 0xFFFF0000
_TYPE_MASK = 0x000000FF
_MAGIC = 0x0FFF
# Frame: length. Header protocol: magic, flags, sequence id, length of the headers in words of four
# bytes.
_LENGTH = struct.Struct("!I")
_PREFIX = struct.Struct("!HHiH")
_FRAME_AND_PREFIX = struct.Struct("!IHHiH")
_TWO_WORDS = struct.Struct("!Ii")
_SEQID = struct.Struct("!i")
_MAGIC_AND_NO_FLAGS = b"\x0f\xff\0\0"
_BUDGET_AT = 10 + len(header_block.OURS_BEGINS) + 1
_NONE: dict[bytes, bytes] = {}
_NO_HEADERS = b"\0\1" + header_block.NO_HEADERS


class Memory(TTransportBase, CReadableTransport):  # type: ignore[misc]  # thrift has no annotations
    """One message to read, and one being written; what the C codec and Thrift's own methods both
    work on.

    Attributes:
        cstringio_buf: where the C codec reads. PERF: in Thrift's classes it is a property.
    """

    __slots__ = ("cstringio_buf", "write", "written")

    def __init__(self) -> None:
        self.cstringio_buf = BytesIO()
        self.written: list[bytes] = []
        self.write = self.written.append

    def cstringio_refill(self, partial: bytes, wanted: int) -> BytesIO:
        raise TTransportException(
            TTransportException.END_OF_FILE, "the frame ends inside the message"
        )

    def readAll(self, size: int) -> bytes:  # noqa: N802 - Thrift's name
        data = self.cstringio_buf.read(size) if size >= 0 else b""
        if len(data) != size:
            raise TTransportException(
                TTransportException.END_OF_FILE, "the frame ends inside the message"
            )
        return data

    read = readAll


class Message(TBinaryProtocolAccelerated):  # type: ignore[misc]
    """Takes frames apart and puts them together; knows no socket."""

    def __init__(
        self, *, string_bytes: int, container_items: int, message_bytes: int, accepts_bare: bool
    ) -> None:
        super().__init__(
            Memory(),
            string_length_limit=string_bytes,
            container_length_limit=container_items,
            fallback=False,
        )
        self._message_bytes = message_bytes
        self._accepts_bare = accepts_bare
        self._with_headers = True
        self._flags = 0
        self._frame_bytes = 0
        self._form: Form | None = None
        self._headers: dict[bytes, bytes] | None = _NONE
        self.context: header_block.Context = None, b"", b""

    def take_apart(self, frame: bytes) -> tuple[str, int, int]:
        """The name, type and sequence id of the message in a frame, which is then read from this
        protocol.

        Raises:
            UnusualError: the stock protocol has to look at it; nothing was changed.
        """
        try:
            with_headers = frame.startswith(b"\x0f\xff")
            at, flags, headers = 0, 0, {}
            if with_headers:
                _, flags, _, words = _PREFIX.unpack_from(frame)
                at = 10 + words * 4
                headers = header_block.parse(frame, 10, at)
            elif not self._accepts_bare:
                raise UnusualError
            version, name_bytes = _TWO_WORDS.unpack_from(frame, at)
            name_at = at + 8
            name_end = name_at + name_bytes
            (seqid,) = _SEQID.unpack_from(frame, name_end)
        except (struct.error, IndexError):
            raise UnusualError from None
        if version & _VERSION_MASK != _VERSION_1 or not 0 <= name_bytes <= 64:
            raise UnusualError
        try:
            name = frame[name_at:name_end].decode()
        except UnicodeDecodeError:
            raise UnusualError from None
        self._with_headers = with_headers
        self._flags = flags
        self._headers = headers
        self.context = header_block.context_of(headers)
        self._frame_bytes = len(frame)
        # PERF: a BytesIO of bytes shares them until it is written into.
        self.trans.cstringio_buf = buffer = BytesIO(frame)
        buffer.seek(name_end + 4)
        kind = version & _TYPE_MASK
        self._form = _form_of(frame, name_end + 4, headers, name, kind)
        return name, kind, seqid

    def take_call(self, data: bytes) -> tuple[str, int, int] | None:
        """As `take_apart`, for a frame with its length that has the form of the last one; None if
        it has another."""
        form = self._form
        if form is None or len(data) != form.size:
            return None
        fields = form.unpack(data)
        if fields[::2] != form.fixed:
            return None
        _, budget, request_id, seqid = fields[1::2]
        self.context = budget, request_id, form.caller
        self._headers = None
        self._frame_bytes = len(data)
        self.trans.cstringio_buf = buffer = BytesIO(data)
        buffer.seek(form.end)
        return form.name, form.kind, seqid

    def take_reply(self, data: bytes, name: str, seqid: int) -> bool:
        """True if a frame with its length begins exactly as the usual reply to that call; it is
        then read from here."""
        size = len(data) - 4
        if not 0 < size <= self._message_bytes:
            return False
        number = _SEQID.pack(seqid)
        expected = (
            _LENGTH.pack(size) + _MAGIC_AND_NO_FLAGS + number + _reply_but_seqids(name) + number
        )
        if not data.startswith(expected):
            return False
        self._flags = 0
        self._headers = _NONE
        self._frame_bytes = len(data)
        self.trans.cstringio_buf = buffer = BytesIO(data)
        buffer.seek(len(expected))
        return True

    def headers(self) -> dict[bytes, bytes]:
        """Those of the message being read."""
        if self._headers is None:
            budget, request_id, caller = self.context
            self._headers = {BUDGET: budget or b"", REQUEST_ID: request_id, CALLER: caller}
        return self._headers

    def has_unread(self) -> bool:
        """True if the frame just read goes on after the message."""
        return bool(self.trans.cstringio_buf.tell() < self._frame_bytes)

    def put_together(self, name: str, kind: int, seqid: int, block: bytes, body: bytes) -> bytes:
        """The frame of a message with a block of headers and an encoded struct, ready to be sent.

        Raises:
            TTransportException: SIZE_LIMIT; it is longer than a frame may be.
        """
        message = _begin_but_seqid(name, kind) + _SEQID.pack(seqid) + body
        if self._with_headers:
            size = 10 + len(block) + len(message)
            frame = (
                _FRAME_AND_PREFIX.pack(size, _MAGIC, self._flags, seqid, len(block) // 4)
                + block
                + message
            )
        else:
            size = len(message)
            frame = _LENGTH.pack(size) + message
        if size > self._message_bytes:
            raise TTransportException(
                TTransportException.SIZE_LIMIT, "Attempting to send frame that is too large."
            )
        return frame

    def written(self) -> bytes:
        """What was written since the last time."""
        parts = self.trans.written
        if len(parts) == 1:
            last: bytes = parts.pop()
            return last
        data = b"".join(parts)
        parts.clear()
        return data


class Form:
    """What the requests on one connection have in common, call after call.

    PERF: they differ in the sequence ids, the deadline and the request id. If one is as long as the
    last, and all the bytes around those are the same, lengths included, then there is nothing left
    to parse.

    Attributes:
        size: of the frame, with the word of its own length.
        end: where the message's begin ends, counted in the same way.
    """

    __slots__ = ("caller", "end", "fixed", "kind", "name", "size", "unpack")

    def __init__(
        self, frame: bytes, end: int, headers: dict[bytes, bytes], name: str, kind: int
    ) -> None:
        self.size, self.end, self.name, self.kind = 4 + len(frame), 4 + end, name, kind
        self.caller = headers[CALLER]
        budget_end = _BUDGET_AT + len(headers[BUDGET])
        id_at = budget_end + 1 + len(REQUEST_ID) + 1
        id_end = id_at + len(headers[REQUEST_ID])
        between, id_bytes, rest = id_at - budget_end, id_end - id_at, end - 4 - id_end
        # Fixed and changing in turn; the frame's own sequence id is not looked at.
        self.unpack = struct.Struct(
            f"!8s4s{_BUDGET_AT - 8}s{budget_end - _BUDGET_AT}s{between}s{id_bytes}s{rest}si"
        ).unpack_from
        self.fixed = self.unpack(_LENGTH.pack(len(frame)) + frame)[::2]


def _form_of(
    frame: bytes, end: int, headers: dict[bytes, bytes], name: str, kind: int
) -> Form | None:
    """None unless the headers are those of a client of ours, in its order."""
    if not frame.startswith(_MAGIC_AND_NO_FLAGS) or not frame.startswith(
        header_block.OURS_BEGINS, 10
    ):
        return None
    if list(headers) != [BUDGET, REQUEST_ID, CALLER]:
        return None
    return Form(frame, end, headers, name, kind)


@lru_cache(maxsize=256)
def _reply_but_seqids(name: str) -> bytes:
    return _NO_HEADERS + _begin_but_seqid(name, TMessageType.REPLY)


@lru_cache(maxsize=256)
def _begin_but_seqid(name: str, kind: int) -> bytes:
    encoded = name.encode()
    return _TWO_WORDS.pack(_VERSION_1 | kind, len(encoded)) + encoded
