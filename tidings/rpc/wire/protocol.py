"""What a message looks like on a connection: Thrift's header protocol over binary, encoded in C, by
either of two ways.

The stock way is Thrift's own code, with limits that hold. The lean way gives the same bytes and
reads the same dialects for a fraction of the instructions, and hands all that is unusual to the
stock one. Tests hold the two against each other. Rejected: a setting that chooses; no operator
could say what for.

    protocol = LeanProtocol(transport, ANY_DIALECT, Limits())
    protocol.readMessageBegin()
"""

from __future__ import annotations

import typing
from io import BytesIO
from typing import Any, TypeAlias

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.protocol.THeaderProtocol import THeaderProtocol, THeaderProtocolFactory
from thrift.protocol.TProtocol import TProtocolException
from thrift.Thrift import TMessageType
from thrift.transport.THeaderTransport import (
    THeaderClientType,
    THeaderSubprotocolID,
    THeaderTransport,
)
from thrift.transport.TTransport import TTransportException

from tidings.rpc.wire.codec import decode_binary, encode_binary
from tidings.rpc.wire.headers import (
    BUDGET,
    CALLER,
    NO_HEADERS,
    REQUEST_ID,
    Context,
    UnusualError,
    context_of,
    pack,
    pack_context,
)
from tidings.rpc.wire.lean import Message
from tidings.rpc.wire.limits import Limits

_UNFRAMED = (THeaderClientType.UNFRAMED_BINARY, THeaderClientType.UNFRAMED_COMPACT)
ANY_DIALECT = (
    THeaderClientType.HEADERS,
    THeaderClientType.FRAMED_BINARY,
    THeaderClientType.FRAMED_COMPACT,
    *_UNFRAMED,
)
HEADERS_ONLY = (THeaderClientType.HEADERS,)


class Stream(typing.Protocol):
    """A connected peer, as `tidings.rpc.wire.transport` has it."""

    def begin_message(self, until_s: float) -> None: ...
    def readAll(self, size: int) -> bytes: ...  # noqa: N802 - Thrift's name
    def arrived(self) -> bytes: ...
    def put_back_arrived(self, data: bytes) -> None: ...
    def read_frame(self, most_bytes: int) -> bytes | None: ...
    def put_back_frame(self, frame: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...


class _HeaderTransport(THeaderTransport):  # type: ignore[misc]
    """The stock header transport, without compression and without joining one message out of two
    frames."""

    def read(self, size: int) -> bytes:
        data: bytes = self._read_buffer.read(size)
        if len(data) < size:
            if self._client_type not in _UNFRAMED:
                raise TTransportException(
                    TTransportException.END_OF_FILE, "the frame ends inside the message"
                )
            data += self._transport.readAll(size - len(data))
        return data

    def _apply_read_transform(self, transform_id: int, payload: bytes) -> bytes:
        raise TTransportException(
            TTransportException.INVALID_CLIENT_TYPE, "compressed messages are not accepted"
        )

    def begin_read(self) -> None:
        # The headers of one message must not be taken for the next one's, which may have none.
        self._read_headers: dict[bytes, bytes] = {}

    def forget_written(self) -> None:
        self._write_buffer = BytesIO()
        self.clear_headers()

    def has_unread(self) -> bool:
        return bool(self._read_buffer.tell() < len(self._read_buffer.getbuffer()))


class HeaderProtocol(THeaderProtocol):  # type: ignore[misc]
    """The stock header protocol with limits that hold, and the C codec or nothing.

    The C codec looks up both limits on the protocol it is handed, which is this one and not the
    binary or compact one inside; the stock class has neither, so that one integer of a peer's
    allocates gigabytes.
    """

    def __init__(self, transport: Stream, dialects: tuple[int, ...], limits: Limits) -> None:
        self.string_length_limit = limits.string_bytes
        self.container_length_limit = limits.container_items
        self._codecs: dict[int, Any] = {}
        self._socket = transport
        header_transport = _HeaderTransport(transport, dialects)
        header_transport.set_max_frame_size(limits.message_bytes)
        super().__init__(header_transport, dialects)

    @property
    def is_binary(self) -> bool:
        """True if a struct in the binary protocol may be written as it is."""
        return bool(self.trans.protocol_id == THeaderSubprotocolID.BINARY)

    def allow_until(self, until_s: float) -> None:
        """From here on one message is read, or written, and has to be over at `until_s`."""
        self._socket.begin_message(until_s)

    @property
    def context(self) -> Context:
        """What the headers of the call being read say."""
        return context_of(self.headers())

    def read_reply(self, _name: str, _seqid: int, _result: Any, _codec: list[Any]) -> bool:
        """False: read the message, and compare it with the call."""
        return False

    def readMessageBegin(self) -> tuple[str, int, int]:  # noqa: N802 - Thrift's name
        self.trans.begin_read()
        self.trans.readFrame(0)
        self._set_protocol()
        name, kind, seqid = self._protocol.readMessageBegin()
        return name, kind, seqid

    def read_arguments(self, arguments: Any, _codec: list[Any]) -> None:
        """Read the rest of a request, whose begin has been read."""
        arguments.read(self)
        self.readMessageEnd()

    def headers(self) -> dict[bytes, bytes]:
        """Those that came with the message being read; none unless the peer speaks the header
        protocol."""
        found: dict[bytes, bytes] = self.trans.get_headers()
        return found

    def start_over(self) -> None:
        """Forget the message being written, and its headers; nothing of it has left."""
        self.trans.forget_written()
        self._codecs.clear()
        self._set_protocol()

    def has_unread(self) -> bool:
        """True if the frame just read went on after the message."""
        return bool(self.trans.has_unread())

    def send_call(
        self, name: str, seqid: int, arguments: Any, _codec: list[Any], context: Context
    ) -> None:
        """Send a request with the three headers of ours."""
        for key, value in zip((BUDGET, REQUEST_ID, CALLER), context, strict=True):
            self.set_header(key, value)
        self.send(name, TMessageType.CALL, seqid, arguments)

    def send(self, name: str, kind: int, seqid: int, struct: Any) -> None:
        """Send a message, with the headers that were set for it."""
        self.writeMessageBegin(name, kind, seqid)
        struct.write(self)
        self.writeMessageEnd()
        self.flush()

    def flush(self) -> None:
        """Send the message that was written."""
        self.trans.flush()

    def _set_protocol(self) -> None:
        kind = self.trans.protocol_id
        if kind not in self._codecs:
            self._codecs[kind] = self._make_codec(kind)
        self._protocol = self._codecs[kind]
        self._fast_encode = self._protocol._fast_encode
        self._fast_decode = self._protocol._fast_decode

    def _make_codec(self, kind: int) -> Any:
        classes = {
            THeaderSubprotocolID.BINARY: TBinaryProtocolAccelerated,
            THeaderSubprotocolID.COMPACT: TCompactProtocolAccelerated,
        }
        if kind not in classes:
            raise TProtocolException(
                TProtocolException.INVALID_PROTOCOL, f"unknown protocol {kind}"
            )
        return classes[kind](
            self.trans,
            string_length_limit=self.string_length_limit,
            container_length_limit=self.container_length_limit,
            fallback=False,
        )


class LeanProtocol(Message):
    """The lean way, until something unusual comes; from then on, the stock way. The two have one
    interface."""

    def __init__(self, transport: Stream, dialects: tuple[int, ...], limits: Limits) -> None:
        super().__init__(
            string_bytes=limits.string_bytes,
            container_items=limits.container_items,
            message_bytes=limits.message_bytes,
            accepts_bare=THeaderClientType.FRAMED_BINARY in dialects,
        )
        self._socket = transport
        self.allow_until = transport.begin_message
        self._write_headers: dict[bytes, bytes] = {}

    is_binary = True

    def read_reply(self, name: str, seqid: int, result: Any, codec: list[Any]) -> bool:
        """Read the usual reply to a call into `result`; False if the next message is anything else:
        it is unread."""
        data = self._socket.arrived()
        if self.take_reply(data, name, seqid):
            decode_binary(result, self, codec)
            return True
        self._socket.put_back_arrived(data)
        return False

    def readMessageBegin(self) -> tuple[str, int, int]:  # noqa: N802 - Thrift's name, as below
        """The begin of the next message.

        Raises:
            UnusualError: it is still there to be read, by the stock protocol.
        """
        data = self._socket.arrived()
        usual = self.take_call(data)
        if usual is not None:
            return usual
        self._socket.put_back_arrived(data)
        frame = self._socket.read_frame(self._message_bytes)
        if frame is None:
            raise UnusualError
        try:
            return self.take_apart(frame)
        except UnusualError:
            self._socket.put_back_frame(frame)
            raise

    def readMessageEnd(self) -> None:  # noqa: N802
        """Nothing is left to be done."""

    def read_arguments(self, arguments: Any, codec: list[Any]) -> None:
        decode_binary(arguments, self, codec)

    def set_header(self, name: bytes, value: bytes) -> None:
        self._write_headers[name] = value

    def start_over(self) -> None:
        self._write_headers.clear()
        self.trans.written.clear()

    def send_call(
        self, name: str, seqid: int, arguments: Any, codec: list[Any], context: Context
    ) -> None:
        body = encode_binary(arguments, codec)
        self._socket.write(
            self.put_together(name, TMessageType.CALL, seqid, pack_context(*context), body)
        )

    def send(self, name: str, kind: int, seqid: int, struct: Any) -> None:
        struct.write(self)
        block = NO_HEADERS
        if self._write_headers:
            block = pack(self._write_headers)
            self._write_headers = {}
        self._socket.write(self.put_together(name, kind, seqid, block, self.written()))


class ProtocolFactory(THeaderProtocolFactory):  # type: ignore[misc]
    """What `TServer` makes a protocol with, once for each connection."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(ANY_DIALECT)
        self._limits = limits

    def getProtocol(self, transport: Stream) -> Protocol:  # noqa: N802 - Thrift's name
        return LeanProtocol(transport, ANY_DIALECT, self._limits)

    def get_stock_protocol(self, transport: Stream) -> Protocol:
        """For a connection on which something `UnusualError` waits to be read."""
        return HeaderProtocol(transport, ANY_DIALECT, self._limits)


Protocol: TypeAlias = LeanProtocol | HeaderProtocol
