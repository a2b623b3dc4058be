"""A connected socket, and a listening one, as Thrift wants them; the same for both ends, so that
the two cannot disagree.

The wire is Thrift's header protocol over binary, encoded in C. It was preferred to a context struct
in every request because the deadline, the request id and the caller are plumbing; and its reader
understands framed and unframed, binary and compact clients of any language on the same port.

`SocketTransport` replaces `TSocket`, which sets no TCP_NODELAY, takes a waiting byte for good
health, and starts its time-out anew with every byte a slow peer sends. Here all waits end at one
moment.

    transport = SocketTransport(sock, max_message_bytes=1024 * 1024)
    transport.begin_message(time.monotonic() + 0.5)
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

from tidings.process.handover import Handover
from tidings.process.listening import BACKLOG, Address, cannot_listen

_CHUNK_BYTES = 16 * 1024
_LISTENS_FOR_S = 1.0
# What waits to be read is read at once, however late this process comes to it.
_IS_THERE_S = 30.0
_TIMEVAL = struct.Struct("@ll")


class HandshakeFailedError(TTransportException):  # type: ignore[misc]  # thrift has no annotations
    """There is no TLS connection to the peer; nothing of it was read."""


class SocketTransport(TTransportBase):  # type: ignore[misc]  # thrift has no annotations
    """One connected socket, read through a buffer, on which every wait ends at `until_s`.

    Args:
        unread: what was read of it before, and belongs to messages to come.
        peer: who is at the other end, for logs.

    Attributes:
        until_s: on the monotonic clock; reads and writes past it fail as timed out.
        sent_bytes: how much of the current message the kernel has taken.
        has_spoken: whether a message has ever begun to arrive.
        idle_since_s: since when it waits for a message; infinite while one is at work.
    """

    def __init__(
        self, sock: socket.socket, max_message_bytes: int, *, unread: bytes = b"", peer: str = ""
    ) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # PERF: with `settimeout` every recv and send costs a poll besides; the kernel's own
        # time-outs cost nothing. They mean nothing to a TLS socket or to one of gevent's, which get
        # `settimeout`.
        self._kernel_timed = isinstance(sock, _socket.socket) and not isinstance(
            sock, ssl.SSLSocket
        )
        sock.settimeout(None)
        self._sock = sock
        self._receive_armed_s = 0.0
        self._poller = select.poll()
        self._poller.register(sock.fileno(), select.POLLIN)
        self._buffer = unread
        self._at = 0
        self.peer = peer
        self.has_spoken = False
        self.idle_since_s = time.monotonic()
        self._max_message_bytes = max_message_bytes
        self._allowance = max_message_bytes
        self.until_s = math.inf
        self.sent_bytes = 0

    def begin_message(self, until_s: float) -> None:
        """All that is read and written from here on belongs to one message, to be over at
        `until_s`."""
        self.until_s = until_s
        self.sent_bytes = 0
        # The frame's length word, or the frame around an unframed client's message, is not counted.
        self._allowance = self._max_message_bytes + 4

    def await_message(self, idle_s: float, leave: int = -1) -> bool:
        """Wait for the first byte of a message; False if the peer closed, or said nothing for
        `idle_s`, or soon after the descriptor `leave` has become readable.

        What came while this process stood still is a message like any other.
        """
        if self._at == len(self._buffer):
            self.idle_since_s = since_s = time.monotonic()
            try:
                if leave < 0:
                    if not self._fill_within(idle_s):
                        if self.is_quiet():
                            return False
                        self._fill(time.monotonic() + _IS_THERE_S)
                elif not self.has_spoken or not self._fill_within(min(idle_s, _LISTENS_FOR_S)):
                    # PERF: only one that has been idle for a while, or has never spoken, pays for
                    # watching two things. A crowd of thousands that says nothing would wake
                    # together a second after it came, and its threads crowd out those at work.
                    if not self._poll_either(leave, since_s + idle_s):
                        return False
                    self._fill(time.monotonic() + _IS_THERE_S)
            except TTransportException:
                return False
            self.idle_since_s = math.inf
        self.has_spoken = True
        return True

    def _fill_within(self, wait_s: float) -> bool:
        try:
            self._fill(time.monotonic() + wait_s)
        except TTransportException as ex:
            if ex.type != TTransportException.TIMED_OUT:
                raise
            return False
        return True

    def _poll_either(self, leave: int, until_s: float) -> bool:
        """True if there is something to read before `until_s` and before `leave` is readable."""
        poller = select.poll()
        poller.register(self._sock.fileno(), select.POLLIN)
        poller.register(leave, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(max(0.0, until_s - time.monotonic()) * 1000)]
        return bool(ready) and leave not in ready

    def peek(self) -> bytes:
        """What has arrived and is not yet read."""
        return self._buffer[self._at :]

    def give_to(self, handover: Handover) -> None:
        """Let another process serve it from here on; this one is only to close it.

        Raises:
            TTransportException: it is still this process's.
        """
        try:
            handover.give(self._sock, self.peek())
        except OSError as ex:
            raise _cannot("hand over", ex) from ex

    def is_quiet(self) -> bool:
        """True if there is nothing to read and the peer has not closed: all that an idle connection
        may be."""
        if self._at < len(self._buffer) or self._poller.poll(0):
            return False
        return (
            self._kernel_timed
            or not isinstance(self._sock, ssl.SSLSocket)
            or not self._sock.pending()
        )

    def isOpen(self) -> bool:  # noqa: N802 - Thrift's name, as below
        return self._sock.fileno() >= 0

    def close(self) -> None:
        self._sock.close()

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """From here on this is the server's end of a TLS connection, on which nothing was said
        yet."""
        self._sock = context.wrap_socket(
            self._sock, server_side=True, do_handshake_on_connect=False
        )
        self._kernel_timed = False
        self._receive_armed_s = 0.0

    def shake_hands(self, within_s: float) -> None:
        """Raises: HandshakeFailedError: the peer shows no certificate of ours, does not speak TLS,
        or takes too long.
        """
        assert isinstance(self._sock, ssl.SSLSocket)
        self._sock.settimeout(within_s)
        try:
            self._sock.do_handshake()
        except OSError as ex:
            raise HandshakeFailedError(message=f"no TLS: {ex}", inner=ex) from ex

    def stop_reading(self) -> None:
        """From any thread: what has arrived is still read, then the end. A reply can still be
        written."""
        self._shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """From any thread: a call that waits on this connection wakes and fails."""
        self._shutdown(socket.SHUT_RDWR)

    def _shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError):  # the peer, or the thread that serves it, was faster
            if isinstance(self._sock, ssl.SSLSocket):
                # Its own `shutdown` drops the TLS layer, and the reply being written would leave in
                # plain text.
                socket.socket.shutdown(self._sock, how)
            else:
                self._sock.shutdown(how)

    def read(self, size: int) -> bytes:
        """From 1 to `size` bytes."""
        if self._at == len(self._buffer):
            self._fill(self.until_s)
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

    def arrived(self) -> bytes:
        """What has come with the last `recv`; waits for something. Empty if part of that was read
        before."""
        if self._at == len(self._buffer):
            self._fill(self.until_s)
        if self._at:
            return b""
        self._at = len(self._buffer)
        return self._buffer

    def put_back_arrived(self, data: bytes) -> None:
        """Undo `arrived`."""
        if data:
            self._at = 0

    def read_frame(self, most_bytes: int) -> bytes | None:
        """A whole frame without its length; None if what waits to be read is no frame, or longer
        than that."""
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
        rest: bytes | memoryview = data
        if self._kernel_timed:
            # PERF: there is nearly always room for the whole message, and then no time-out need be
            # set.
            try:
                self.sent_bytes = count = self._sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                count = 0
            except OSError as ex:
                raise _cannot("write", ex) from ex
            if count == len(data):
                return
            rest = memoryview(data)[count:]
        while rest:
            count = self._send(rest)
            self.sent_bytes += count
            rest = memoryview(rest)[count:]

    def flush(self) -> None:
        """`write` keeps nothing back."""

    def _fill(self, until_s: float) -> None:
        while True:
            wait_s = until_s - time.monotonic()
            if not self._receive_armed_s <= wait_s <= 2 * self._receive_armed_s:
                self._receive_armed_s = self._arm(socket.SO_RCVTIMEO, wait_s)
            try:
                self._buffer = self._sock.recv(_CHUNK_BYTES)
                break
            except BlockingIOError:
                continue  # it was armed for less than there is to wait
            except TimeoutError as ex:
                raise _timed_out(ex) from None
            except OSError as ex:
                raise _cannot("read", ex) from ex
        self._at = 0
        if not self._buffer:
            raise TTransportException(
                TTransportException.END_OF_FILE, "the peer has closed the connection"
            )

    def _send(self, data: bytes | memoryview) -> int:
        while True:
            self._arm(socket.SO_SNDTIMEO, self.until_s - time.monotonic())
            try:
                return self._sock.send(data)
            except BlockingIOError:
                continue  # it was armed for less than there is to wait
            except TimeoutError as ex:
                raise _timed_out(ex) from None
            except OSError as ex:
                raise _cannot("write", ex) from ex

    def _arm(self, option: int, wait_s: float) -> float:
        """Let the next recv or send come back after `wait_s` or sooner, but not in less than half
        of it.

        PERF: setting a socket option is dear, and every call has a little less time left than the
        last; a time-out that is a power of two serves nearly all of them. Who comes back too soon
        waits again.

        Returns:
            After how long it will come back; 0 if it has to be set each time.
        """
        if wait_s <= 0:
            raise _timed_out(None)
        if not self._kernel_timed:
            self._sock.settimeout(None if wait_s == math.inf else wait_s)
            return 0.0
        armed_s = math.inf if wait_s == math.inf else 2.0 ** (math.frexp(wait_s)[1] - 1)
        # A timeval of zero means for ever.
        all_us = 0 if armed_s == math.inf else max(1, int(armed_s * 1_000_000))
        self._sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(*divmod(all_us, 1_000_000)))
        return armed_s


def _cannot(do: str, ex: OSError) -> Any:
    return TTransportException(message=f"cannot {do}: {ex}", inner=ex)


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

    def listen(self) -> None:
        """From here on clients are let in; it may have been so before.

        Raises:
            SettingsError: another program has taken the address, which was bound but not listened
                on.
        """
        try:
            self._sock.listen(BACKLOG)
        except OSError as ex:
            address = Address(self._sock.family, self._sock.getsockname())
            raise cannot_listen(address, ex) from ex

    def accept(self) -> SocketTransport:
        """Raises:
        BlockingIOError: no client is waiting, or another process was faster.
        ConnectionError: the peer has gone already.
        """
        sock, sockaddr = self._sock.accept()
        return self._connected(sock, sockaddr, b"")

    def take(self, handover: Handover) -> SocketTransport | None:
        """A connection that another process gives away; None if there is none.

        Raises:
            ConnectionError: the peer has gone already.
        """
        given = handover.take()
        if given is None:
            return None
        sock, unread = given
        try:
            sockaddr = sock.getpeername()
        except OSError:
            sockaddr = ""
        client = self._connected(sock, sockaddr, unread)
        client.has_spoken = True
        return client

    def _connected(self, sock: socket.socket, sockaddr: Any, unread: bytes) -> SocketTransport:
        peer = str(Address(sock.family, sockaddr)) if sockaddr else "a unix socket"
        try:
            return SocketTransport(sock, self._max_message_bytes, unread=unread, peer=peer)
        except OSError as ex:  # on the socket of a peer that has gone already, any call can fail
            sock.close()
            raise ConnectionAbortedError(*ex.args) from ex

    def close(self) -> None:
        self._sock.close()
