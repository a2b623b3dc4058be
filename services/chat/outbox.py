"""What a socket owes its client. To push never waits.

Nearly always the kernel takes a whole frame at once, and nothing is kept. A client that is slow is
given a queue and a coroutine that waits for it alone; one that owes too much is cut off, and no
other notices. Rejected: a queue and a writer for every socket, which is two switches a delivery and
twice the memory.

    outbox = Outbox(sock)
    outbox.put(framed)
    outbox.owed_bytes  # 0, unless the client is slow
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.socket import socket as GreenSocket  # noqa: N812 - it is a class

from services.chat.counts import SLOW

# Sixteen messages of the largest size. The kernel holds as much again (server.SEND_BUFFER_BYTES).
MOST_OWED_BYTES = 256 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)


class Outbox:
    """One socket's way out.

    Attributes:
        owed_bytes: put, and not taken by the kernel yet.
        is_lost: the connection is broken.
    """

    __slots__ = ("_ends", "_owed", "_send", "_sock", "is_lost", "owed_bytes")

    def __init__(self, sock: GreenSocket) -> None:
        self._sock = sock
        # PERF: the kernel's own, beneath gevent's, which never waits and costs one call less. Once
        # the socket is closed it raises OSError, as that does.
        self._send: Callable[[bytes], int] = sock._sock.send
        self._owed: deque[bytes | memoryview] | None = None
        self._ends = False
        self.owed_bytes = 0
        self.is_lost = False

    def put(self, data: bytes) -> int:
        """Send it now or as soon as the client takes it. It neither waits nor raises.

        Returns:
            What is owed now.
        """
        if self._owed is not None:
            self._owed.append(data)
            self.owed_bytes += len(data)
            return self.owed_bytes
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return 0
        if sent == len(data):
            return 0
        self._owed = deque([memoryview(data)[sent:]])
        self.owed_bytes = len(data) - sent
        SLOW.inc()
        gevent.spawn_raw(self._write)
        return self.owed_bytes

    def cut(self) -> None:
        """Drop what is owed, but for the frame that may have begun: what follows must be found
        where a frame starts."""
        if self._owed:
            begun = self._owed[0]
            self._owed.clear()
            self._owed.append(begun)
            self.owed_bytes = len(begun)

    def end(self) -> None:
        """Close this direction after what is owed."""
        self._ends = True
        if self._owed is None:
            self._shut_down()

    def abort(self) -> None:
        """Close at once. The kernel drops what it holds for the client, rather than keep it for
        minutes."""
        self.is_lost = True
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()

    def close(self) -> None:
        """Close; the kernel still sends what it holds."""
        if self._owed is not None:
            self._owed.clear()
            self.owed_bytes = 0
        self._sock.close()

    def _write(self) -> None:
        """While something is owed. A new frame goes to the end of it."""
        assert self._owed is not None
        try:
            while self._owed:
                data = self._owed[0]
                sent = self._sock.send(data)
                self.owed_bytes -= sent
                if sent == len(data):
                    self._owed.popleft()
                else:
                    self._owed[0] = memoryview(data)[sent:]
        except OSError:
            self.abort()
        finally:
            self._owed = None
            SLOW.dec()
        if self._ends:
            self._shut_down()

    def _shut_down(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
