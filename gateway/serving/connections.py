"""All connections of a worker: who waits for what, how many there are, and who goes when there are
too many.

They stand in order of how long they have been waiting, so that the one that is missed least is
found at once. Rejected: no bound but the system's, where a thousand idle clients keep out the next.

    connections.add(conn)
    connections.stand(conn, State.IDLE, give_up_s)  # until it says something
"""

from __future__ import annotations

import resource
import selectors
from collections import Counter as Tally
from collections.abc import Iterator

import structlog
from prometheus_client import Counter, Gauge

from gateway.serving.connection import Connection, State
from tidings.process.logs import SeldomLog

# One costs about 3 KiB here, and a file number; it is two thousand readers at a time.
MOST_CONNECTIONS = 2000
# What else the process opens: the database, Redis, recommenders, metrics, logs.
OTHER_FILES = 200
# All that was read and not yet answered, or answered and not yet taken, in one worker.
MOST_HELD_BYTES = 64 * 1024 * 1024
_EVENTS = {
    State.IDLE: selectors.EVENT_READ,
    State.READING: selectors.EVENT_READ,
    State.AT_WORK: 0,
    State.WRITING: selectors.EVENT_WRITE,
    State.LEAVING: selectors.EVENT_READ,
}
_MISSED_LEAST = (State.LEAVING, State.IDLE, State.READING, State.WRITING)

CONNECTIONS = Gauge(
    "tidings_http_connections",
    "Open connections by what they wait for",
    ["state"],
    multiprocess_mode="livesum",
)
DROPPED = Counter(
    "tidings_http_connections_dropped", "Connections that the server ended early", ["why"]
)
_log = structlog.get_logger(__name__)
_seldom = SeldomLog(_log)


class Connections:
    """Belongs to the thread that owns the connections.

    Args:
        selector: tells what comes in and what can go out.

    Attributes:
        count: how many there are.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._most = _find_room()
        self._standing: dict[State, dict[Connection, None]] = {state: {} for state in State}
        self._of_address: Tally[str] = Tally()
        self._held_bytes = 0
        self.count = 0

    @property
    def hold_too_much(self) -> bool:
        """True while the memory for what comes and goes is used up."""
        return self._held_bytes > MOST_HELD_BYTES

    @property
    def are_full(self) -> bool:
        """True while there is no room for one more."""
        return self.count >= self._most

    def of_address(self, network: str) -> int:
        """How many this address holds."""
        return self._of_address[network]

    def add(self, conn: Connection) -> None:
        """Count it; it stands nowhere yet."""
        self.count += 1
        self._of_address[conn.network] += 1

    def stand(self, conn: Connection, state: State, give_up_s: float) -> None:
        """Wait for what `state` says, or until `give_up_s`."""
        events = _EVENTS[state]
        if events != conn.events:
            if not conn.events:
                self._selector.register(conn.sock, events, conn.listener)
            elif events:
                self._selector.modify(conn.sock, events, conn.listener)
            else:
                self._selector.unregister(conn.sock)
            conn.events = events
        conn.give_up_s = give_up_s
        if state is State.LEAVING and conn.state is not State.LEAVING:
            self._discount(conn)
        if state is not conn.state or conn not in self._standing[state]:
            self._standing[conn.state].pop(conn, None)
            self._standing[state][conn] = None
            conn.state = state
        held_bytes = len(conn.inbox) + len(conn.request) + len(conn.outbox)
        self._held_bytes += held_bytes - conn.held_bytes
        conn.held_bytes = held_bytes

    def overdue(self, now_s: float) -> Iterator[Connection]:
        """Those whose time is over; what is at work is the threads'."""
        for state, standing in self._standing.items():
            CONNECTIONS.labels(state).set(len(standing))
            if state is not State.AT_WORK:
                yield from [conn for conn in standing if conn.give_up_s < now_s]

    def hurry(self, until_s: float) -> None:
        """Give up idle ones by `until_s`."""
        for conn in self._standing[State.IDLE]:
            conn.give_up_s = min(conn.give_up_s, until_s)

    def make_room(self) -> bool:
        """Close the one that is missed least; False if all are at work."""
        for state in _MISSED_LEAST:
            oldest = next(iter(self._standing[state]), None)
            if oldest is not None:
                self.close(oldest, why="evicted")
                return True
        return False

    def close(self, conn: Connection, *, why: str = "") -> None:
        """End it, if it is not ended yet. `why` says that the client did not want it so, and what
        it did not read is thrown away."""
        if conn.is_closed:
            return
        conn.is_closed = True
        if conn.events:
            self._selector.unregister(conn.sock)
            conn.events = 0
        self._standing[conn.state].pop(conn, None)
        self._held_bytes -= conn.held_bytes
        self.count -= 1
        if conn.state is not State.LEAVING:
            self._discount(conn)
        if why:
            count_dropped(why)
            conn.abort()
        else:
            conn.close()

    def _discount(self, conn: Connection) -> None:
        """What is about to go is not held against its address."""
        self._of_address[conn.network] -= 1
        if not self._of_address[conn.network]:
            del self._of_address[conn.network]


def count_dropped(why: str) -> None:
    """A connection is ended because of what its client does, or for want of room."""
    DROPPED.labels(why).inc()
    _seldom.warning("connections_dropped", about=why, why=why)


def _find_room() -> int:
    """How many connections the limit on open files has room for, after raising it as far as this
    process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_CONNECTIONS
    room = max(soft - OTHER_FILES, soft // 2)
    _log.warning("few_open_files", limit=soft, connections=room)
    return room
