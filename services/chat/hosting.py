"""What a socket needs of the rest of the chat: one who joins it to the bus and takes its frames.

The session knows the protocol and nothing of conversations; its host knows conversations and no
protocol. Between them stands this, so that each is tested without the other.

    class Echo:
        def take(self, session: Socket, frame: ClientFrame) -> None:
            session.say(Failed(code="unavailable", message="nothing is kept here"))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from services.chat.closing import Closing
from services.chat.frames import ClientFrame, Failed, Send
from tidings.readers.keys import Role


class RefusedError(Exception):
    """A frame asks for what may not or cannot be done; the socket stays open.

    Attributes:
        code: for programs, as docs/chat.md lists them.
        retry_after_ms: the same frame may be sent again then.
    """

    def __init__(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_ms = retry_after_ms

    def answer(self, frame: ClientFrame) -> Failed:
        """What the client that sent this frame is told."""
        return Failed(
            code=self.code,
            message=str(self),
            ref=frame.ref,
            cid=frame.cid if isinstance(frame, Send) else None,
            retry_after_ms=self.retry_after_ms,
        )


class UnavailableError(Exception):
    """A session cannot be joined now: the bus, Redis or the database is away."""


class Listener(Protocol):
    """A reader's socket, or another way of telling the same, such as a stream of events."""

    @property
    def reader_id(self) -> int: ...

    @property
    def role(self) -> Role | None: ...

    @property
    def key_id(self) -> int | None: ...

    def push(self, framed: bytes) -> None:
        """Send a framed message. It neither waits nor raises."""

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        """Send no more. It neither waits nor raises."""


class Socket(Listener, Protocol):
    """A reader's socket, which can be answered."""

    def say(self, message: msgspec.Struct) -> None:
        """Send a message of `frames` to this client alone. It neither waits nor raises."""


class Host(Protocol):
    """Who stands behind the sockets."""

    def join(self, session: Socket, pos: str | None, topics: Sequence[str]) -> None:
        """Say welcome and what was missed since `pos`, and push from there on. It may wait.

        Raises:
            UnavailableError: not now.
        """

    def take(self, session: Socket, frame: ClientFrame) -> None:
        """Do what a frame asks for, and say so when it is done. It does not wait for that.

        Raises:
            RefusedError: it will not be done.
        """

    def leave(self, session: Socket) -> None:
        """Push no more. It is called once for each `join`, also for one that raised."""
