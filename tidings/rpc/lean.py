"""The same bytes as the stock header protocol, for a third of its instructions.

What calls are made of nearly always is one frame in binary, with the header protocol or without, that arrives whole.
Such a frame is taken apart here with a handful of `struct` calls and handed to Thrift's C codec, which does the rest.
All else (compact, unframed, transforms, headers of an unusual shape) is given back unread to the stock protocol, which
then serves that connection to its end. Nothing of Thrift is replaced: this is a protocol like any other, and
`tidings.rpc.transport` builds the stock one where it is asked to.
"""

from __future__ import annotations

import struct
from io import BytesIO

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import CReadableTransport, TTransportBase, TTransportException

_VERSION_1 = 0x80010000
_VERSION_MASK = 0xFFFF0000
_TYPE_MASK = 0x000000FF
_MAGIC = 0x0FFF
_KEY_VALUE = 1
# Frame: length. Header protocol: magic, flags, sequence id, length of the headers in words of four bytes.
_LENGTH = struct.Struct("!I")
_PREFIX = struct.Struct("!HHiH")
_FRAME_AND_PREFIX = struct.Struct("!IHHiH")
_TWO_WORDS = struct.Struct("!Ii")
_SEQID = struct.Struct("!i")
_NO_HEADERS = b"\0\0\0\0"


class Unusual(Exception):
    """Not a frame for the fast path. It says nothing about whether the frame is valid."""


class Memory(TTransportBase, CReadableTransport):  # type: ignore[misc]  # thrift has no annotations
    """One message to read, and one being written; what the C codec and Thrift's own methods both work on."""

    def __init__(self) -> None:
        self.buffer = BytesIO()
        self.written: list[bytes] = []

    @property
    def cstringio_buf(self) -> BytesIO:
        """Where the C codec reads."""
        return self.buffer

    def cstringio_refill(self, partial: bytes, wanted: int) -> BytesIO:
        raise TTransportException(TTransportException.END_OF_FILE, "the frame ends inside the message")

    def readAll(self, size: int) -> bytes:  # noqa: N802 - Thrift's name
        data = self.buffer.read(size) if size >= 0 else b""
        if len(data) != size:
            raise TTransportException(TTransportException.END_OF_FILE, "the frame ends inside the message")
        return data

    read = readAll

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Message(TBinaryProtocolAccelerated):  # type: ignore[misc]
    """Takes frames apart and puts them together; knows no socket."""

    def __init__(self, *, string_bytes: int, container_items: int, message_bytes: int, accepts_bare: bool) -> None:
        super().__init__(
            Memory(), string_length_limit=string_bytes, container_length_limit=container_items, fallback=False
        )
        self._message_bytes = message_bytes
        self._accepts_bare = accepts_bare
        self._with_headers = True
        self._flags = 0
        self._sequence_id = 0
        self._frame = b""
        self.read_headers: dict[bytes, bytes] = {}

    def take_apart(self, frame: bytes) -> tuple[str, int, int]:
        """The name, type and sequence id of the message in a frame, which is then read from this protocol.

        Raises:
            Unusual: the stock protocol has to look at it; nothing was changed.
        """
        try:
            (first,) = _LENGTH.unpack_from(frame)
            if first >> 16 == _MAGIC:
                at, flags, sequence_id, headers = _parse_headers(frame)
                version, name_bytes = _TWO_WORDS.unpack_from(frame, at)
            elif not self._accepts_bare:
                raise Unusual
            else:
                at, flags, sequence_id, headers = 0, None, 0, {}
                version, name_bytes = _TWO_WORDS.unpack_from(frame)
            name_at = at + 8
            (seqid,) = _SEQID.unpack_from(frame, name_at + name_bytes)
        except (struct.error, IndexError):
            raise Unusual from None
        if version & _VERSION_MASK != _VERSION_1 or not 0 <= name_bytes <= 64:
            raise Unusual
        self._with_headers = flags is not None
        self._flags = flags or 0
        self._sequence_id = sequence_id
        self.read_headers = headers
        self._frame = frame
        buffer = BytesIO(frame)
        buffer.seek(name_at + name_bytes + 4)
        self.trans.buffer = buffer
        try:
            return frame[name_at : name_at + name_bytes].decode(), version & _TYPE_MASK, seqid
        except UnicodeDecodeError:
            raise Unusual from None

    def has_unread(self) -> bool:
        """True if the frame just read goes on after the message."""
        return bool(self.trans.buffer.tell() < len(self._frame))

    def put_together(self, head: bytes, headers: dict[bytes, bytes]) -> bytes:
        """The frame around `head` (a message's begin) and what was written since, ready to be sent.

        Raises:
            TTransportException: SIZE_LIMIT; it is longer than a frame may be.
        """
        written = self.trans.written
        body_bytes = len(head) + sum(map(len, written))
        if not self._with_headers:
            prefix = _LENGTH.pack(body_bytes)
        else:
            block = _pack_headers(headers) if headers else _NO_HEADERS
            frame_bytes = 10 + len(block) + body_bytes
            prefix = (
                _FRAME_AND_PREFIX.pack(frame_bytes, _MAGIC, self._flags, self._sequence_id, len(block) // 4) + block
            )
        frame = b"".join((prefix, head, *written))
        written.clear()
        if len(frame) - 4 > self._message_bytes:
            raise TTransportException(TTransportException.SIZE_LIMIT, "Attempting to send frame that is too large.")
        return frame


def message_begin(name: str, kind: int, seqid: int) -> bytes:
    """A message's begin in the binary protocol."""
    encoded = name.encode()
    return _TWO_WORDS.pack(_VERSION_1 | kind, len(encoded)) + encoded + _SEQID.pack(seqid)


def _parse_headers(frame: bytes) -> tuple[int, int, int, dict[bytes, bytes]]:
    """Where the payload begins, the flags, the sequence id and the headers of a frame in the header protocol."""
    _, flags, sequence_id, words = _PREFIX.unpack_from(frame)
    end = 10 + words * 4
    # Protocol 0 is binary, and it is followed by the number of transforms.
    if end > len(frame) or words == 0 or frame[10] or frame[11]:
        raise Unusual
    headers: dict[bytes, bytes] = {}
    at = 12
    while at < end and frame[at] == _KEY_VALUE:
        count = frame[at + 1]
        at += 2
        if count > 0x7F:
            raise Unusual
        for _ in range(count):
            key, at = _short_string(frame, at)
            headers[key], at = _short_string(frame, at)
    if at > end:
        raise Unusual
    return end, flags, sequence_id, headers


def _short_string(frame: bytes, at: int) -> tuple[bytes, int]:
    length = frame[at]
    end = at + 1 + length
    if length > 0x7F or end > len(frame):  # a varint of more than one byte
        raise Unusual
    return frame[at + 1 : end], end


def _pack_headers(headers: dict[bytes, bytes]) -> bytes:
    parts = [b"\0\0\1", _varint(len(headers))]
    for key, value in headers.items():
        parts += _varint(len(key)), key, _varint(len(value)), value
    block = b"".join(parts)
    return block + bytes(-len(block) % 4)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
