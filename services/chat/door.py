"""Who gets a socket: the handshake, and the lines in which a connection waits for the next step.

A connection has so long to ask for a socket, as long again to say hello, and a moment to leave; in
each line the oldest is the next to be late. The handshake is answered over the connection that
gunicorn has read it from, which is then taken out of gunicorn's hands: its coroutine ends, with all
that it holds of the request, and the socket's own begins. Rejected: to serve the socket inside the
request, which keeps the request's headers and frames in memory for hours.

    door = Door(admit=tickets.admit, host=host, sessions=sessions, ...)
    chat = Chat(door=door, rest=rest, ...)  # which asks door.open for what comes to /ws
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gevent.socket import socket as GreenSocket  # noqa: N812 - it is a class
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin

from services.chat.addresses import Addresses
from services.chat.counts import HALF_OPEN, REFUSED, SOCKETS
from services.chat.cutting import cut
from services.chat.hosting import Host
from services.chat.session import MOST_MESSAGE_BYTES, Session
from services.chat.sessions import Sessions
from services.chat.waiting import Line
from tidings.http.errors import TooManyConnectionsError
from tidings.readers.tickets import Admission

# For the rest of a close: a client that does not answer is cut off then.
LEAVE_S = 2.0
_PREFIX = "HTTP_"
# Every connection opens and closes at level INFO, and a client's fault is no warning of ours.
_quiet = logging.getLogger("tidings.chat.protocol")
_quiet.setLevel(logging.CRITICAL)

StartResponse = Callable[..., Any]


class Arrival:
    """A connection that has not asked for anything yet."""

    __slots__ = ("_sock", "place")

    def __init__(self, sock: GreenSocket, place: str) -> None:
        self._sock = sock
        self.place = place

    def give_up(self, *, late: bool) -> None:
        """It is too slow, or its place is needed."""
        REFUSED.labels("slow" if late else "pushed_out").inc()
        cut(self._sock)


class Door:
    """Args:
    admit: uses a ticket up; raises `TicketRefusedError`, `RedisError`.
    host: who stands behind the sockets.
    origins: whose pages may open a socket; programs send no Origin.
    most: sockets of this node.
    half_open: connections that have not said hello.
    within_s: time for each step.
    """

    def __init__(
        self,
        *,
        admit: Callable[[str], Admission],
        host: Host,
        sessions: Sessions,
        addresses: Addresses,
        origins: Sequence[str],
        most: int,
        half_open: int,
        within_s: float,
    ) -> None:
        self._admit = admit
        self.host = host
        self.sessions = sessions
        self.is_stopping = False
        self.all: set[Session] = set()
        self._addresses = addresses
        self._origins = [*map(Origin, origins), None]
        self._most = most
        self._arrivals: dict[GreenSocket, Arrival] = {}
        self._half_open = Line(within_s, half_open)
        self._leaving = Line(LEAVE_S, most)

    # Before the handshake.

    def arrive(self, sock: GreenSocket, address: str) -> None:
        """A connection was accepted.

        Raises:
            TooManyConnectionsError: its address holds as many as it may.
        """
        arrival = self._arrivals[sock] = Arrival(sock, self._addresses.take(address))
        self._half_open.add(arrival, time.monotonic())

    def asked(self, sock: GreenSocket) -> None:
        """The first request of a connection was read."""
        arrival = self._arrivals.get(sock)
        if arrival is not None:
            self._half_open.remove(arrival)

    def depart(self, sock: GreenSocket) -> None:
        """gunicorn is done with a connection."""
        arrival = self._arrivals.pop(sock, None)
        if arrival is not None:
            self._half_open.remove(arrival)
            self._addresses.leave(arrival.place)

    # The handshake.

    def open(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """A WSGI application that answers a handshake; if it succeeds, by taking the connection.

        Raises:
            HandedOverError: the connection is a session's from here on.
        """
        if self.is_stopping or len(self.all) >= self._most:
            return self._refuse_for_now(start_response)
        protocol = ServerProtocol(origins=self._origins, max_size=MOST_MESSAGE_BYTES, logger=_quiet)
        response = protocol.accept(_read_request(environ))
        if response.status_code != 101:
            REFUSED.labels(str(response.status_code)).inc()
            start_response(
                f"{response.status_code} {response.reason_phrase}",
                list(response.headers.raw_items()),
            )
            return [bytes(response.body or b"")]
        try:
            place = self._take_place(environ)
        except TooManyConnectionsError as ex:
            REFUSED.labels("address").inc()
            body = f"{ex}\n".encode()
            start_response("429 Too Many Requests", _plain(body))
            return [body]
        raise HandedOverError(
            self._hand_over(environ["gunicorn.socket"], place), response.serialize()
        )

    def _take_place(self, environ: dict[str, Any]) -> str:
        """What the connection holds since it was accepted; behind a proxy, what its client has."""
        arrival = self._arrivals.get(environ["gunicorn.socket"])
        if arrival is not None and arrival.place:
            place, arrival.place = arrival.place, ""
            return place
        return self._addresses.take(environ.get("REMOTE_ADDR", ""))

    def _hand_over(self, sock: GreenSocket, place: str) -> Session:
        # One that was made to read a handshake would read its bytes, which gunicorn has.
        protocol = ServerProtocol(state=State.OPEN, max_size=MOST_MESSAGE_BYTES, logger=_quiet)
        # A descriptor of its own: gunicorn closes the other one.
        session = Session(sock.dup(), protocol, owner=self, place=place)
        self.all.add(session)
        self._half_open.add(session, time.monotonic())
        return session

    def _refuse_for_now(self, start_response: StartResponse) -> Iterable[bytes]:
        REFUSED.labels("stopping" if self.is_stopping else "full").inc()
        body = b"no socket can be had here now\n"
        start_response("503 Service Unavailable", [*_plain(body), ("Retry-After", "1")])
        return [body]

    # After it.

    def admit(self, ticket: str) -> Admission:
        """As `Tickets.admit`."""
        return self._admit(ticket)

    def admitted(self, session: Session) -> None:
        """It said who it is."""
        self._half_open.remove(session)
        self.sessions.add(session)

    def leaving(self, session: Session) -> None:
        """It begins to close."""
        self._half_open.remove(session)
        self.sessions.remove(session)
        self._leaving.add(session, time.monotonic())

    def left(self, session: Session) -> None:
        """Its connection has ended."""
        self._half_open.remove(session)
        self.sessions.remove(session)
        self._leaving.remove(session)
        self.all.discard(session)
        self._addresses.leave(session.place)

    def look(self) -> None:
        """Give up those that are late; call it several times a second."""
        now_s = time.monotonic()
        self._half_open.give_up_late(now_s)
        self._leaving.give_up_late(now_s)
        HALF_OPEN.set(len(self._half_open))
        SOCKETS.set(len(self.sessions))


class HandedOverError(Exception):
    """The connection belongs to a session; gunicorn is to forget it.

    Attributes:
        answer: to the handshake, to be sent first.
    """

    def __init__(self, session: Session, answer: bytes) -> None:
        super().__init__("handed over")
        self.session = session
        self.answer = answer


def _read_request(environ: dict[str, Any]) -> Request:
    headers = Headers(
        (name.removeprefix(_PREFIX).replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith(_PREFIX)
    )
    return Request(
        environ["PATH_INFO"],
        headers,
        method=environ["REQUEST_METHOD"],
        protocol=environ["SERVER_PROTOCOL"],
    )


def _plain(body: bytes) -> list[tuple[str, str]]:
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
