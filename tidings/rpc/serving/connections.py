"""The connections that a server has open, and who gets the place when there are as many as there
may be.

Up to the cap each newcomer is served. Over it, the newcomer takes the place of a connection that
nothing is lost with: the one that has been silent for longest since it was made, or else the one
whose client has not called for longest, if that is a while. So a crowd that connects and says
nothing keeps no client out. Only where all are at work is the newcomer told to come again.
Rejected: waiting for the idle time-out, a minute in which the door is shut.

    verdict = connections.admit(client)
    connections.forget(client)
"""

from __future__ import annotations

import enum
import ssl
import threading
import time

import structlog
from prometheus_client import Counter, Gauge

from tidings.process.logs import SeldomLog
from tidings.rpc.wire.transport import SocketTransport

IDLE_AFTER_S = 5.0
_OPEN = Gauge("tidings_rpc_server_connections", "Open connections", multiprocess_mode="livesum")
_REJECTED = Counter("tidings_rpc_server_connections_rejected", "Connections over the cap", ["how"])
_seldom = SeldomLog(structlog.get_logger())


class Verdict(enum.Enum):
    """What is to be done with a newcomer."""

    SERVE = enum.auto()
    TURN_AWAY = enum.auto()
    CLOSE = enum.auto()


class Connections:
    """Safe for threads.

    Args:
        most: how many are served at once.
        most_turned_away: how many more may wait to be told that there are too many.
    """

    def __init__(self, *, most: int, most_turned_away: int) -> None:
        self._most = most
        self._most_turned_away = most_turned_away
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        # In the order in which they came.
        self._served: dict[SocketTransport, None] = {}
        self._turned_away: set[SocketTransport] = set()

    def __len__(self) -> int:
        return len(self._served) + len(self._turned_away)

    @property
    def is_full(self) -> bool:
        """True while a newcomer would need another's place."""
        return len(self._served) >= self._most

    def admit(self, client: SocketTransport) -> Verdict:
        """Let a newcomer in, or say how to refuse it; unless it is to be closed, it is to be
        forgotten later."""
        with self._lock:
            if self.is_full and not self._make_room():
                if len(self._turned_away) >= self._most_turned_away:
                    _REJECTED.labels("closed").inc()
                    return Verdict.CLOSE
                self._turned_away.add(client)
                _REJECTED.labels("answered").inc()
                _OPEN.inc()
                return Verdict.TURN_AWAY
            self._take_in(client)
            return Verdict.SERVE

    def take_over(self, client: SocketTransport) -> None:
        """Let in one that another process has served until now; it is never refused."""
        with self._lock:
            if self.is_full:
                self._make_room()
            self._take_in(client)

    def begin_tls(self, client: SocketTransport, context: ssl.SSLContext) -> None:
        """Put TLS around a connection; no other thread may end it while its socket changes
        hands."""
        with self._lock:
            client.begin_tls(context)

    def forget(self, client: SocketTransport) -> None:
        """Close a connection for good."""
        # Around the close too: no other thread may use a descriptor that is being closed.
        with self._lock:
            self._served.pop(client, None)
            self._turned_away.discard(client)
            client.close()
            _OPEN.dec()
            self._gone.notify_all()

    def finish(self, within_s: float) -> int:
        """Answer what has arrived, close the idle ones; returns how many had to be cut."""
        with self._lock:
            for client in (*self._served, *self._turned_away):
                client.stop_reading()
            self._gone.wait_for(lambda: not len(self), timeout=within_s)
            for client in (*self._served, *self._turned_away):
                client.abort()
            return len(self)

    def wait_until_none(self, within_s: float) -> bool:
        """False if there are still some after `within_s`."""
        with self._lock:
            return self._gone.wait_for(lambda: not len(self), timeout=within_s)

    def _take_in(self, client: SocketTransport) -> None:
        self._served[client] = None
        _OPEN.inc()

    def _make_room(self) -> bool:
        now_s = time.monotonic()
        idlest = self._find_idlest(now_s)
        if idlest is None:
            return False
        # It can still answer a request that has arrived.
        idlest.stop_reading()
        del self._served[idlest]
        _REJECTED.labels("evicted").inc()
        _seldom.warning(
            "rpc_connection_evicted",
            peer=idlest.peer,
            idle_s=round(now_s - idlest.idle_since_s, 1),
            connections=self._most,
        )
        return True

    def _find_idlest(self, now_s: float) -> SocketTransport | None:
        for client in self._served:
            if not client.has_spoken:
                return client
        idlest = min(self._served, key=lambda client: client.idle_since_s, default=None)
        if idlest is None or now_s - idlest.idle_since_s < IDLE_AFTER_S:
            return None
        return idlest
