"""Connections to one endpoint, each lent to one call at a time and destroyed on any doubt.

A reply that comes after its caller has stopped waiting sits in the socket and would be read as the
answer to the next call; so a connection goes back only if its exchange ended cleanly, and is looked
at again before it is lent. Last in, first out: in quiet hours the rest grow old and are dropped.
Rejected: a background thread that tends idle connections; it would not survive a fork, and looking
costs one `poll`.

    with pool.lease(deadline) as connection:
        ...
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from types import TracebackType

from tidings.process.deadline import Deadline
from tidings.process.listening import Address
from tidings.rpc.calling.connection import Connection, connect
from tidings.rpc.calling.observer import SILENT, Observer
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import TransportFaultError

_AGE_SPREAD = 0.1


class PoolExhaustedError(TransportFaultError):
    """Every connection is in use. It says nothing about the endpoint; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class Pool:
    """At most `policy.pool_size` connections to `address`. Safe for threads; opens nothing until
    asked."""

    def __init__(self, address: Address, policy: Policy, observer: Observer = SILENT) -> None:
        self._address = address
        self._policy = policy
        self._observer = observer
        self._changed = threading.Condition(threading.Lock())
        # What may be taken: connections, on top the one returned last, and below them the right to
        # open one more.
        # PERF: taking from a list and putting back are one step each of the interpreter's; the lock
        # is for waiters.
        self._free: list[Lease | None] = [None] * policy.pool_size
        self._waiters = 0
        self._closed = False

    def lease(self, deadline: Deadline) -> Lease:
        """A connection that no other call has; use it as `with pool.lease(deadline) as connection`.

        Raises:
            TransportFaultError: no connection can be had; nothing was sent.
        """
        while True:
            try:
                kept = self._free.pop()
            except IndexError:
                kept = self._wait_for_one(deadline)
            if kept is None:
                return self._open(deadline)
            if time.monotonic() >= kept.expires_s:
                reason = "age"
            elif not kept.connection.is_idle():
                reason = "closed_or_dirty"
            else:
                return kept
            self._destroy(kept.connection, reason)
            self._allow_one_more()

    @property
    def in_use(self) -> int:
        """How many connections are lent, or being opened for a caller."""
        return self._policy.pool_size - len(self._free)

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.drop_idle("closed")

    def release(self, lease: Lease) -> None:
        """Take back a connection whose exchange ended cleanly. Does no I/O."""
        self._free.append(lease)
        if self._waiters:
            self._wake_one()
        if self._closed:
            self.drop_idle("closed")

    def discard(self, lease: Lease) -> None:
        """Destroy a connection that is in any doubt."""
        self._destroy(lease.connection, "doubt")
        self._allow_one_more()

    def drop_idle(self, reason: str) -> None:
        """Close the connections that no call uses just now; new ones can be opened."""
        for _ in range(len(self._free)):
            try:
                kept = self._free.pop()
            except IndexError:
                return  # the others are in use
            if kept is not None:
                self._destroy(kept.connection, reason)
            self._allow_one_more()

    def _destroy(self, connection: Connection, reason: str) -> None:
        self._observer.closed(reason)
        connection.close()

    def _allow_one_more(self) -> None:
        self._free.insert(0, None)
        if self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        with self._changed:
            self._changed.notify()

    def _wait_for_one(self, deadline: Deadline) -> Lease | None:
        taken: list[Lease | None] = []

        def take() -> bool:
            # NOTE: a caller that has not waited may be faster at any moment.
            with contextlib.suppress(IndexError):
                taken.append(self._free.pop())
            return bool(taken) or self._closed

        with self._changed:
            if self._closed:
                raise TransportFaultError("this client has been closed", sent=False)
            if self._waiters >= self._policy.pool_max_waiters:
                raise PoolExhaustedError(f"too many calls wait for a connection to {self._address}")
            wait_s = min(self._policy.pool_wait_ms, deadline.remaining_ms()) / 1000
            self._waiters += 1
            try:
                self._changed.wait_for(take, timeout=max(0.0, wait_s))
            except BaseException:
                self._changed.notify()  # the wake-up meant for this waiter belongs to another now
                raise
            finally:
                self._waiters -= 1
            if taken:
                return taken[0]
            if self._closed:
                raise TransportFaultError("this client has been closed", sent=False)
        raise PoolExhaustedError(f"no free connection to {self._address}")

    def _open(self, deadline: Deadline) -> Lease:
        try:
            if self._closed:
                raise TransportFaultError("this client has been closed", sent=False)
            return self._connect(deadline)
        except BaseException:
            self._allow_one_more()
            raise

    def _connect(self, deadline: Deadline) -> Lease:
        deadline.check()
        timeout_ms = min(self._policy.connect_timeout_ms, deadline.remaining_ms())
        policy = self._policy
        try:
            connection = connect(self._address, timeout_ms / 1000, policy.limits, tls=policy.tls)
        except OSError as ex:
            deadline.check()
            raise TransportFaultError(
                f"cannot connect to {self._address}: {ex}", sent=False
            ) from ex
        self._observer.opened()
        spread = random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311 - against a thundering herd
        return Lease(self, connection, time.monotonic() + policy.connection_max_age_s * spread)


class Lease:
    """A connection of a pool's, as a context for one exchange at a time.

    A class, since a generator would meddle with what passes through it; and it lives as long as its
    connection.
    """

    __slots__ = ("connection", "expires_s", "pool")

    def __init__(self, pool: Pool, connection: Connection, expires_s: float) -> None:
        self.pool = pool
        self.connection = connection
        self.expires_s = expires_s

    def __enter__(self) -> Connection:
        return self.connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        ex: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if ex is None and not self.connection.is_doubtful:
            self.pool.release(self)
        else:
            self.pool.discard(self)
