"""Both ends of a connection. Nothing else builds a Thrift transport or protocol, so the two ends cannot disagree.

The wire is Thrift's header protocol over binary, encoded in C. It was preferred to a context struct in every
request because the deadline, the request id and the caller are plumbing; and its reader understands framed and
unframed, binary and compact clients of any language on the same port.

`SocketTransport` replaces `TSocket`, which sets no TCP_NODELAY, takes a waiting byte for good health, and starts
its time-out anew with every byte a slow peer sends. Here all waits end at one moment.
"""

from __future__ import annotations

import _socket
import contextlib
import math
import select
import socket
import ssl
import struct
import time
from typing import Any

from thrift.transport.TTransport import TServerTransportBase, TTransportBase, TTransportException

from tidings.rpc.address import Address
from tidings.rpc.lean import Unusual
from tidings.rpc.protocol import HEADERS_ONLY, HeaderProtocol, LeanProtocol, Limits, Protocol
from tidings.settings import SettingsError

_CHUNK_BYTES = 16 * 1024
_TIMEVAL = struct.Struct("@ll")


class CodecMissing(SettingsError):
    """Thrift's codec in C is not installed; the one in Python is some 20 to 40 times slower."""


def require_codec() -> None:
    """Raises:
    CodecMissing: instead of serving slowly, which is how Thrift itself would go on.
    """
    try:
        # TBase: the codec imports it with the first struct it reads, too late if no file can be opened by then.
        from thrift.protocol import TBase, fastbinary  # noqa: F401 - only whether they can be imported matters
    except ImportError:
        raise CodecMissing(
            "thrift.protocol.fastbinary: Thrift's C codec is missing; reinstall thrift where a C compiler "
            "and Python's headers are present"
        ) from None


class SocketTransport(TTransportBase):  # type: ignore[misc]  # thrift has no annotations
    """One connected socket, read through a buffer, on which every wait ends at `until_s`.

    Attributes:
        until_s: on the monotonic clock; reads and writes past it fail as timed out.
        sent_bytes: how much of the current message the kernel has taken.
    """

    def __init__(self, sock: socket.socket, max_message_bytes: int) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # PERF: with `settimeout` every recv and send costs a poll besides; the kernel's own time-outs cost
        # nothing. They mean nothing to a TLS socket or to one of gevent's, which get `settimeout`.
        self._kernel_timed = isinstance(sock, _socket.socket) and not isinstance(sock, ssl.SSLSocket)
        sock.settimeout(None)
        self._sock = sock
        self._armed_s = {socket.SO_RCVTIMEO: 0.0, socket.SO_SNDTIMEO: 0.0}
        self._poller = select.poll()
        self._poller.register(sock.fileno(), select.POLLIN)
        self._buffer = b""
        self._at = 0
        self._max_message_bytes = max_message_bytes
        self._allowance = max_message_bytes
        self.until_s = math.inf
        self.sent_bytes = 0

    def begin_message(self, until_s: float) -> None:
        """Whatever is read and written from here on belongs to one message, to be over at `until_s`."""
        self.until_s = until_s
        self.sent_bytes = 0
        # The frame's length word, or the frame around an unframed client's message, is not counted.
        self._allowance = self._max_message_bytes + 4

    def await_message(self, idle_s: float) -> bool:
        """Wait for the first byte of a message; False if the peer closed, or said nothing for `idle_s`."""
        if self._at == len(self._buffer):
            try:
                self._fill(idle_s)
            except TTransportException:
                return False
        return True

    def is_quiet(self) -> bool:
        """True if there is nothing to read and the peer has not closed: all that an idle connection may be."""
        return self._at == len(self._buffer) and not self._poller.poll(0)

    def isOpen(self) -> bool:  # noqa: N802 - Thrift's name, as below
        return self._sock.fileno() >= 0

    def close(self) -> None:
        self._sock.close()

    def stop_reading(self) -> None:
        """From any thread: what has arrived is still read, then the end. A reply can still be written."""
        with contextlib.suppress(OSError):  # the peer, or the thread that serves it, was faster
            self._sock.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """From any thread: whoever waits on this connection wakes and fails."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def read(self, size: int) -> bytes:
        """From 1 to `size` bytes."""
        if self._at == len(self._buffer):
            self._fill(self._remaining_s())
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        self._allowance -= len(data)
        if self._allowance < 0:
            raise TTransportException(TTransportException.SIZE_LIMIT, "the message is too long")
        return data

    def readAll(self, size: int) -> bytes:  # noqa: N802
        if not 0 <= size <= self._max_message_bytes:
            raise TTransportException(TTransportException.SIZE_LIMIT, f"a length of {size} bytes")
        data = self.read(size) if size else b""
        if len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing:
                parts.append(self.read(missing))
                missing -= len(parts[-1])
            data = b"".join(parts)
        return data

    def read_frame(self, most_bytes: int) -> bytes | None:
        """A whole frame without its length; None if what waits to be read is no frame, or longer than that."""
        if self._at == len(self._buffer):
            self._fill(self._remaining_s())
        # PERF: it has nearly always come whole, with one `recv`.
        buffer, at = self._buffer, self._at
        size = int.from_bytes(buffer[at : at + 4])
        end = at + 4 + size
        if len(buffer) >= at + 4 and end <= len(buffer) and size <= most_bytes:
            self._at = end
            self._allowance -= end - at
            return buffer[at + 4 : end]
        head = self.readAll(4)
        size = int.from_bytes(head)
        if size > most_bytes:
            self._put_back(head)
            return None
        return self.readAll(size)

    def put_back_frame(self, frame: bytes) -> None:
        """Undo `read_frame`."""
        self._put_back(len(frame).to_bytes(4) + frame)

    def _put_back(self, data: bytes) -> None:
        self._buffer = data + self._buffer[self._at :]
        self._at = 0
        self._allowance += len(data)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = self._send(rest)
            self.sent_bytes += count
            rest = rest[count:]

    def flush(self) -> None:
        """`write` keeps nothing back."""

    def _remaining_s(self) -> float:
        return self.until_s - time.monotonic()

    def _fill(self, wait_s: float) -> None:
        self._arm(socket.SO_RCVTIMEO, wait_s)
        try:
            self._buffer = self._sock.recv(_CHUNK_BYTES)
        except (TimeoutError, BlockingIOError) as ex:
            raise _timed_out(ex) from None
        except OSError as ex:
            raise TTransportException(message=f"cannot read: {ex}", inner=ex) from ex
        self._at = 0
        if not self._buffer:
            raise TTransportException(TTransportException.END_OF_FILE, "the peer has closed the connection")

    def _send(self, data: memoryview) -> int:
        try:
            if self._kernel_timed:
                try:  # PERF: there is nearly always room for the whole message, and then no time-out need be set
                    return self._sock.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
            self._arm(socket.SO_SNDTIMEO, self._remaining_s())
            return self._sock.send(data)
        except (TimeoutError, BlockingIOError) as ex:
            raise _timed_out(ex) from None
        except OSError as ex:
            raise TTransportException(message=f"cannot write: {ex}", inner=ex) from ex

    def _arm(self, option: int, wait_s: float) -> None:
        if wait_s <= 0:
            raise _timed_out(None)
        if not self._kernel_timed:
            self._sock.settimeout(None if wait_s == math.inf else wait_s)
        elif wait_s != self._armed_s[option]:
            self._armed_s[option] = wait_s
            whole_s = 0 if wait_s == math.inf else int(wait_s)
            # A timeval of zero means for ever.
            microseconds = 0 if wait_s == math.inf else max(1, int((wait_s - whole_s) * 1_000_000))
            self._sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(whole_s, microseconds))


def _timed_out(ex: Exception | None) -> Any:
    return TTransportException(TTransportException.TIMED_OUT, "timed out", inner=ex)


class Listener(TServerTransportBase):  # type: ignore[misc]
    """A listening socket as `TServer` wants it; accepting from it never blocks."""

    def __init__(self, sock: socket.socket, max_message_bytes: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._max_message_bytes = max_message_bytes

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def port(self) -> int:
        """The TCP port; 0 on a unix socket."""
        return 0 if self._sock.family == socket.AF_UNIX else int(self._sock.getsockname()[1])

    def accept(self) -> SocketTransport:
        """Raises:
        BlockingIOError: nobody is waiting, or another process was faster.
        ConnectionError: the peer has gone already.
        """
        sock, _ = self._sock.accept()
        try:
            return SocketTransport(sock, self._max_message_bytes)
        except OSError as ex:  # on the socket of a peer that has gone already, any call can fail
            sock.close()
            raise ConnectionAbortedError(*ex.args) from ex

    def close(self) -> None:
        self._sock.close()


class Connection:
    """The client's end. Whoever holds it has it alone.

    Attributes:
        is_doubtful: it must not be used again, although nothing failed.
        peer_is_leaving: the server has said that it is about to stop.
    """

    def __init__(self, sock: socket.socket, limits: Limits, *, lean: bool = True) -> None:
        self.transport = SocketTransport(sock, limits.message_bytes)
        self._limits = limits
        kind = LeanProtocol if lean else HeaderProtocol
        self.protocol: Protocol = kind(self.transport, HEADERS_ONLY, limits)
        self.is_doubtful = False
        self.peer_is_leaving = False

    def read_message_begin(self) -> tuple[str, int, int]:
        """The name, type and sequence id of the next message."""
        try:
            return self.protocol.readMessageBegin()
        except Unusual:
            self.protocol = HeaderProtocol(self.transport, HEADERS_ONLY, self._limits)
            return self.protocol.readMessageBegin()

    def is_idle(self) -> bool:
        """True if it can be used for a call: not closed, and no byte of a late reply has come."""
        return self.transport.is_quiet()

    def close(self) -> None:
        self.transport.close()


def connect(address: Address, timeout_s: float, limits: Limits, *, lean: bool = True) -> Connection:
    """Raises:
    OSError: nobody listens there, or not within `timeout_s`.
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout_s, 0.001))
        sock.connect(address.sockaddr)
        return Connection(sock, limits, lean=lean)
    except BaseException:
        sock.close()
        raise
