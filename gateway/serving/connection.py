"""One client's connection, and how long it may take for what.

It is in one state at a time, and each has its end: a client that is slow, silent or gone costs a
few kilobytes for a while, and never a thread. Rejected: one time limit for a whole request, which
either cuts off a slow uplink or lets a client that trickles stay.

    conn = Connection(sock, ("192.0.2.7", 51234), server, max_body_bytes=262_144)
"""

from __future__ import annotations

import math
import socket
import struct
from contextlib import suppress
from enum import StrEnum, auto
from typing import Any

from gateway.serving.framing import Framing
from tidings.http.limits import address_network

# A browser opens connections in reserve; after this time it opens another.
FIRST_BYTE_S = 10.0
# Above the 60 s after which common proxies drop a connection, so that the proxy closes first.
KEEPALIVE_S = 75.0
# A head is a packet or two; a phone that changes its mast is back within this.
HEAD_S = 5.0
# A body has five seconds and one more for each 4 KiB that came: a slow 2G uplink is faster.
BODY_S = 5.0
BODY_BYTES_PER_S = 4 * 1024
MOST_BODY_S = 30.0
# An answer is dropped if nothing of it was taken for this long, or not all of it in the longer one.
UNREAD_S = 5.0
ANSWER_S = 30.0
# For the client to close first, so that what it still sends does not lose it the answer.
LEAVE_S = 2.0
MOST_LEFT_BYTES = 1024 * 1024


class State(StrEnum):
    """What is waited for."""

    IDLE = auto()
    READING = auto()
    AT_WORK = auto()
    WRITING = auto()
    LEAVING = auto()


class Connection:
    """A client's socket and what has come in and is to go out.

    Attributes:
        client, server: the two ends, as the system names them.
        address: of the client, "" on a unix socket.
        network: what counts as one address.
        is_closed: it is over.
        inbox: what came and was not answered yet.
        request: what is at work.
        readable_s: when that could first be read.
        outbox: what of the answer did not go out yet.
        since_s: nothing that comes was readable before this.
        asked_s: when its newest request was whole.
        began_s: when what the state waits for began.
        give_up_s: when the state has to be over.
        may_go_on: where the request ends is beyond doubt, and another may follow it.
        keeps: another request may follow the answer.
        left_bytes: what came in and was thrown away at the end.
        events: what the selector listens for.
        listener: what the selector calls.
        held_bytes: memory it was last counted with.
    """

    __slots__ = (
        "address",
        "asked_s",
        "began_s",
        "client",
        "events",
        "framing",
        "give_up_s",
        "held_bytes",
        "inbox",
        "is_closed",
        "keeps",
        "left_bytes",
        "listener",
        "may_go_on",
        "network",
        "outbox",
        "readable_s",
        "request",
        "server",
        "since_s",
        "sock",
        "state",
    )

    def __init__(self, sock: socket.socket, client: Any, server: Any, max_body_bytes: int) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.address = client[0] if isinstance(client, tuple) else ""
        self.network = address_network(self.address)
        self.framing = Framing(max_body_bytes)
        self.inbox = bytearray()
        self.request = b""
        self.outbox = memoryview(b"")
        self.readable_s = self.since_s = self.began_s = self.give_up_s = 0.0
        self.asked_s = -math.inf
        self.keeps = self.may_go_on = True
        self.is_closed = False
        self.left_bytes = self.events = self.held_bytes = 0
        self.listener: Any = None
        self.state = State.IDLE
        sock.setblocking(False)

    def send(self, data: bytes | memoryview) -> bool:
        """Send what the system takes at once, and keep the rest in `outbox`.

        Returns:
            False if the client is gone.
        """
        view = memoryview(data)
        try:
            self.outbox = view[self.sock.send(view) :]
        except BlockingIOError:
            self.outbox = view
        except OSError:
            self.outbox = memoryview(b"")
            return False
        return True

    def reading_until_s(self) -> float:
        """When the request that is coming in has to be whole."""
        came_bytes = len(self.inbox) - self.framing.body_from
        if not self.framing.body_from:
            return self.began_s + HEAD_S
        return self.began_s + min(BODY_S + came_bytes / BODY_BYTES_PER_S, MOST_BODY_S)

    def close(self) -> None:
        """Give the socket back."""
        self.sock.close()

    def abort(self) -> None:
        """Close, and have the system throw away what the client did not read."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
