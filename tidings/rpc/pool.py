"""Connections to one endpoint, each lent to one call at a time and destroyed on any doubt.

A reply that comes after its caller has stopped waiting sits in the socket and would be read as the answer to
the next call; so a connection goes back only if its exchange ended cleanly, and is looked at again before it
is lent. Last in, first out: in quiet hours the rest grow old and are dropped. Rejected: a background thread
that tends idle connections; it would not survive a fork, and looking costs one `poll`.
"""

from __future__ import annotations

import random
import threading
import time
from types import TracebackType

from prometheus_client import Counter, Gauge

from tidings.deadline import Deadline
from tidings.rpc.address import Address
from tidings.rpc.errors import TransportFault
from tidings.rpc.policy import Policy
from tidings.rpc.transport import Connection, connect

_OPEN = Gauge("tidings_rpc_client_connections", "Open connections to servers", multiprocess_mode="livesum")
_DESTROYED = Counter("tidings_rpc_client_connections_destroyed", "Connections not used again, and why", ["reason"])
_AGE_SPREAD = 0.1


class PoolExhausted(TransportFault):
    """Every connection is in use. It says nothing about the endpoint; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class Pool:
    """At most `policy.pool_size` connections to `address`. Safe for threads; opens nothing until asked."""

    def __init__(self, address: Address, policy: Policy) -> None:
        self._address = address
        self._policy = policy
        self._changed = threading.Condition(threading.Lock())
        self._idle: list[tuple[Connection, float]] = []
        self._taken = 0
        self._waiters = 0
        self._closed = False

    def lease(self, deadline: Deadline) -> Lease:
        """Use as `with pool.lease(deadline) as connection`.

        Entering raises:
            TransportFault: no connection can be had; nothing was sent.
        """
        return Lease(self, deadline)

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for connection, _ in idle:
            _destroy(connection, "closed")

    def acquire(self, deadline: Deadline) -> tuple[Connection, float]:
        """A connection nobody else has, and the moment it grows too old."""
        self._take_slot(deadline)
        try:
            while (kept := self._pop_idle()) is not None:
                connection, expires_s = kept
                if time.monotonic() >= expires_s:
                    _destroy(connection, "age")
                elif not connection.is_idle():
                    _destroy(connection, "closed_or_dirty")
                else:
                    return kept
            return self._connect(deadline)
        except BaseException:
            self._give_slot_back()
            raise

    def release(self, connection: Connection, expires_s: float) -> None:
        """Take back a connection whose exchange ended cleanly. Does no I/O."""
        with self._changed:
            closed = self._closed
            if not closed:
                self._idle.append((connection, expires_s))
            self._taken -= 1
            self._changed.notify()
        if closed:
            _destroy(connection, "closed")

    def discard(self, connection: Connection) -> None:
        """Destroy a connection of which anything at all is in doubt."""
        _destroy(connection, "doubt")
        self._give_slot_back()

    def _take_slot(self, deadline: Deadline) -> None:
        with self._changed:
            if self._taken >= self._policy.pool_size:
                self._wait_for_slot(deadline)
            if self._closed:
                raise TransportFault("this client has been closed", sent=False)
            self._taken += 1

    def _wait_for_slot(self, deadline: Deadline) -> None:
        if self._waiters >= self._policy.pool_max_waiters:
            raise PoolExhausted(f"too many calls wait for a connection to {self._address}")
        wait_s = min(self._policy.pool_wait_ms, deadline.remaining_ms()) / 1000
        self._waiters += 1
        try:
            free = self._changed.wait_for(
                lambda: self._closed or self._taken < self._policy.pool_size, timeout=max(0.0, wait_s)
            )
        except BaseException:
            self._changed.notify()  # the wake-up meant for this waiter belongs to another now
            raise
        finally:
            self._waiters -= 1
        if not free:
            raise PoolExhausted(f"no free connection to {self._address}")

    def _give_slot_back(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def _pop_idle(self) -> tuple[Connection, float] | None:
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _connect(self, deadline: Deadline) -> tuple[Connection, float]:
        deadline.check()
        timeout_ms = min(self._policy.connect_timeout_ms, deadline.remaining_ms())
        try:
            connection = connect(self._address, timeout_ms / 1000, self._policy.limits, lean=self._policy.lean)
        except OSError as ex:
            deadline.check()
            raise TransportFault(f"cannot connect to {self._address}: {ex}", sent=False) from ex
        _OPEN.inc()
        spread = random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311 - against a thundering herd
        return connection, time.monotonic() + self._policy.connection_max_age_s * spread


class Lease:
    """One connection for one exchange; a class, since a generator would meddle with what passes through it."""

    __slots__ = ("_connection", "_deadline", "_expires_s", "_pool")

    def __init__(self, pool: Pool, deadline: Deadline) -> None:
        self._pool = pool
        self._deadline = deadline

    def __enter__(self) -> Connection:
        self._connection, self._expires_s = self._pool.acquire(self._deadline)
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if ex is None and not self._connection.is_doubtful:
            self._pool.release(self._connection, self._expires_s)
        else:
            self._pool.discard(self._connection)


def _destroy(connection: Connection, reason: str) -> None:
    _OPEN.dec()
    _DESTROYED.labels(reason).inc()
    connection.close()
