"""Connections pass from a worker that leaves to the one that follows it, without their clients
noticing.

A server cannot close a connection between two calls without risk: the next request may be in the
air. So a worker that is replaced closes none; it gives each to its successor, between two calls,
with what was read of it and not yet answered. The queue between the two is the master's, and so
outlives both. Rejected: waiting until clients leave by themselves, which those with one connection
for life never do.

    handover.give(sock, unread=b"")    # in the worker that leaves
    sock, unread = handover.take()     # in the one that stays
"""

from __future__ import annotations

import socket
import struct

_GIVE_WITHIN_S = 5.0
_MOST_UNREAD = 64 * 1024
_SECONDS = struct.Struct("@ll")


class Handover:
    """A queue of connections from one process to another. Both ends are in every process that is
    forked after it was made."""

    def __init__(self) -> None:
        self._taking, self._giving = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._taking.setblocking(False)
        # The kernel's own time-out: other processes have this end too, whose mode must not change.
        timeout = _SECONDS.pack(int(_GIVE_WITHIN_S), 0)
        self._giving.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)

    def fileno(self) -> int:
        """Readable while there is a connection to take."""
        return self._taking.fileno()

    def give(self, sock: socket.socket, unread: bytes) -> None:
        """Pass a connection on; it is the other's then, and is only to be closed here.

        Raises:
            OSError: it is still this process's, since the queue has been full for too long.
        """
        if len(unread) > _MOST_UNREAD:
            raise OSError("too much was read ahead of this connection")
        # An empty message would look like the end.
        socket.send_fds(self._giving, [b"+" + unread], [sock.fileno()])

    def take(self) -> tuple[socket.socket, bytes] | None:
        """The next connection, and what was read of it; None if another process was faster."""
        try:
            said, fds, _, _ = socket.recv_fds(self._taking, _MOST_UNREAD + 1, 1)
        except BlockingIOError:
            return None
        return (socket.socket(fileno=fds[0]), said[1:]) if fds else None

    def close(self) -> None:
        """In a process that has no part in it."""
        self._taking.close()
        self._giving.close()
