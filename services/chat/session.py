"""One WebSocket: what its client says is read, checked and handed on; what it is told is pushed.

The protocol is `websockets`' own, without its input and output (Sans-I/O): frames, masks,
sizes and the closing handshake are its; joining fragments, UTF-8, and how much one client may say
are ours. One coroutine a socket reads, and any other may push. Rejected: a library that reads
and writes by itself, whose buffers towards a slow client have no bound.

    session = Session(sock, protocol, owner=door, place=place)
    gevent.spawn_raw(session.run, answer, b"")
    session.push(framed)
"""

from __future__ import annotations

import time
from typing import Protocol

import msgspec
import structlog
from gevent.socket import socket as GreenSocket  # noqa: N812 - it is a class
from redis import RedisError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from services.chat.closing import Closing
from services.chat.counts import CLOSED, FAILED, FRAMES, NOT_ADMITTED
from services.chat.frames import (
    BadFrameError,
    Bye,
    ClientFrame,
    Failed,
    Hello,
    Ping,
    Pong,
    read_frame,
)
from services.chat.framing import PING, frame_message
from services.chat.hosting import Host, RefusedError, UnavailableError
from services.chat.outbox import MOST_OWED_BYTES, Outbox
from services.chat.pacing import Pace
from tidings.process.logs import SeldomLog
from tidings.readers.keys import Role
from tidings.readers.tickets import Admission, TicketRefusedError

# A message, its escapes and its envelope; a body's own bound is the conversation's.
MOST_MESSAGE_BYTES = 16 * 1024
# No client needs more for so few bytes; empty ones would cost a list without end.
MOST_FRAGMENTS = 64
_RECEIVED_BYTES = 16 * 1024
_DATA = (Opcode.TEXT, Opcode.CONT)
_CODES = {closing.code for closing in Closing}

_log = structlog.get_logger(__name__)
_seldom = SeldomLog(_log)


class Owner(Protocol):
    """Who gave the socket, and is told what becomes of it."""

    host: Host

    def admit(self, ticket: str) -> Admission:
        """Use a ticket up.

        Raises:
            TicketRefusedError: it admits no socket.
            RedisError: that cannot be told now.
        """

    def admitted(self, session: Session) -> None:
        """It said who it is."""

    def leaving(self, session: Session) -> None:
        """It begins to close."""

    def left(self, session: Session) -> None:
        """Its connection has ended."""


class Session:
    """A client that was given a socket.

    Attributes:
        reader_id: who it is; 0 until it was admitted.
        heard_s: when something last came, on the monotonic clock.
        place: what it holds of its address's share.
    """

    __slots__ = (
        *("_owner", "_fragments", "_has_said_hello", "_is_closing", "_is_joined", "_outbox"),
        *("_pace", "_protocol", "_sock", "heard_s", "key_id", "place", "reader_id", "role"),
    )

    def __init__(
        self, sock: GreenSocket, protocol: ServerProtocol, owner: Owner, place: str
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self._owner = owner
        self._outbox = Outbox(sock)
        self._pace = Pace()
        self._fragments: list[bytes] | None = None
        self._has_said_hello = self._is_closing = self._is_joined = False
        self.heard_s = time.monotonic()
        self.place = place
        self.reader_id = 0
        self.role: Role | None = None
        self.key_id: int | None = None

    # What it is told.

    def push(self, framed: bytes) -> None:
        """Send a message that `framing` has made. It neither waits nor raises."""
        if self._is_closing:
            return
        if self._outbox.put(framed) > MOST_OWED_BYTES:
            self._outbox.cut()
            self.close(Closing.BUSY)

    def say(self, message: msgspec.Struct) -> None:
        """Send a message of `frames` to this client alone. It neither waits nor raises."""
        if isinstance(message, Failed):
            FAILED.labels(message.code).inc()
        self.push(frame_message(message))

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        """Begin to close. It neither waits nor raises.

        Args:
            retry_after_ms: said before, for a client that should not come back at once.
        """
        if self._is_closing:
            return
        if retry_after_ms is not None:
            self.say(Bye(retry_after_ms=retry_after_ms))
        if self._protocol.state is State.OPEN:
            self._protocol.fail(closing.code, closing.name.lower())
        self._flush()

    def ping(self) -> None:
        """Ask whether the client is still there; that something came is the answer."""
        self.push(PING)

    def give_up(self, *, late: bool) -> None:
        """It did not say hello in time, or did not leave in time, or its place is needed.

        One whose ticket is being looked at has said it: it waits for Redis, and no longer than
        that may take.
        """
        if self._is_closing:
            self._outbox.abort()
        elif not (late and self._has_said_hello):
            self.close(Closing.NO_HELLO if late else Closing.BUSY)

    # What it says.

    def run(self, answer: bytes, data: bytes) -> None:
        """Read until the connection ends.

        Args:
            answer: to the handshake, sent first.
            data: what the client sent right behind its handshake, without waiting for the answer.
        """
        try:
            self._outbox.put(answer)
            self._receive(data)
            while data := self._sock.recv(_RECEIVED_BYTES):
                self.heard_s = time.monotonic()
                self._receive(data)
            self._protocol.receive_eof()
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - a defect of ours ends one socket and no other
            _log.exception("chat_session_failed")
        finally:
            self._end()

    def _receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        if self._protocol.state is State.OPEN:
            self._flush()  # pongs, before what may wait
        for event in self._protocol.events_received():
            if not self._is_closing and isinstance(event, Frame):
                self._take(event)
        self._flush()

    def _flush(self) -> None:
        """Send what the protocol has to say; see whether it has begun to close."""
        chunks = self._protocol.data_to_send()
        if chunks:
            # At once: a client that asks for a thousand pongs in one packet gets one back.
            if data := b"".join(chunks):
                self._outbox.put(data)
            if not chunks[-1]:
                self._outbox.end()
        if not self._is_closing and self._protocol.state is not State.OPEN:
            self._is_closing = True
            CLOSED.labels(self._closed_by()).inc()
            self._owner.leaving(self)

    def _closed_by(self) -> str:
        """The code for the count; a client may choose any, so those outside the table are one."""
        close = self._protocol.close_sent
        if close is None:
            return "lost"
        return str(close.code) if close.code in _CODES else "other"

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            return
        if frame.opcode is Opcode.BINARY:
            self.close(Closing.BINARY)
        elif frame.opcode not in _DATA or frame.fin:
            if not self._pace.admit(self.heard_s):
                self.close(Closing.FLOOD)
            elif frame.opcode in _DATA:
                self._take_message(self._join(bytes(frame.data)))
        else:
            fragments = self._fragments = self._fragments or []
            fragments.append(bytes(frame.data))
            if len(fragments) >= MOST_FRAGMENTS:
                self.close(Closing.TOO_BIG)

    def _join(self, last: bytes) -> bytes:
        if self._fragments is None:
            return last
        message = b"".join((*self._fragments, last))
        self._fragments = None
        return message

    def _take_message(self, message: bytes) -> None:
        try:
            message.decode()
            frame = read_frame(message)
        except UnicodeDecodeError:
            self.close(Closing.NOT_UTF8)
            return
        except BadFrameError:
            self.close(Closing.BAD_FRAME)
            return
        FRAMES.labels(type(frame).__struct_config__.tag).inc()
        if isinstance(frame, Hello):
            self._hear_hello(frame)
        elif not self.reader_id:
            NOT_ADMITTED.labels("missing").inc()
            self.close(Closing.NOT_ADMITTED)
        elif isinstance(frame, Ping):
            self.say(Pong(ref=frame.ref))
        else:
            self._hand_on(frame)

    def _hear_hello(self, hello: Hello) -> None:
        if self.reader_id:
            self.close(Closing.BAD_FRAME)
            return
        self._has_said_hello = True
        try:
            admission = self._owner.admit(hello.ticket)
        except TicketRefusedError as ex:
            NOT_ADMITTED.labels(ex.reason).inc()
            self.close(Closing.NOT_ADMITTED)
            return
        except RedisError:
            NOT_ADMITTED.labels("untold").inc()
            self.close(Closing.BUSY)
            return
        if not self._is_closing:
            self._enter(admission, hello)

    def _enter(self, admission: Admission, hello: Hello) -> None:
        self.reader_id, self.role, self.key_id = admission
        self._is_joined = True
        self._owner.admitted(self)
        try:
            self._owner.host.join(self, hello.pos, hello.topics)
        except UnavailableError:
            self.close(Closing.BUSY)

    def _hand_on(self, frame: ClientFrame) -> None:
        try:
            self._owner.host.take(self, frame)
        except RefusedError as ex:
            self.say(ex.answer(frame))
        except Exception as ex:  # noqa: BLE001 - a defect of ours fails one frame
            _seldom.warning("chat_frame_failed", about=type(ex).__name__, exc_info=True)
            self.say(RefusedError("unavailable", "it could not be done").answer(frame))

    def _end(self) -> None:
        self._outbox.close()
        if not self._is_closing:
            self._is_closing = True
            CLOSED.labels("lost").inc()
        self._owner.left(self)
        if self._is_joined:
            self._owner.host.leave(self)
