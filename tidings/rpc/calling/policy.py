"""How patient a client is: every time-out, size and retry rule of it in one value.

Retries come out of a budget shared by all calls of a client, so that a service in trouble gets at
most a fifth more work, not twice as much. Rejected: retries with back-off inside the call; a caller
with a deadline of half a second and a ladder to fall down is better served by falling at once.

    policy = Policy(timeout_ms=300, pool_size=8)
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass, field

from tidings.rpc.tls import ClientTls
from tidings.rpc.wire.limits import Limits


@dataclass(frozen=True, slots=True)
class Policy:
    """All that can be chosen about a client.

    Attributes:
        timeout_ms: longest that a call may take with everything in it, its retry too.
        connect_timeout_ms: longest wait for one connection to open.
        pool_size: connections to one endpoint; threads that call at once beyond it wait.
        pool_wait_ms: longest wait for a free connection; the call's deadline ends it as well.
        pool_max_waiters: how many may wait; the next one fails at once.
        connection_max_age_s: give or take 10 %; stays below the server's idle time-out, so that the
            server never closes what this side is about to use.
        eject_after: failures in a row after which an endpoint is left alone.
        ejection_s: for how long at first; it doubles each time a probe fails.
        max_ejection_s: up to which it doubles.
        resolve_every_s: how long the addresses of a host name are believed.
        retry_ratio: how much of a retry each call adds to the budget that all of them share.
        retries_per_s: how many each second adds.
        tls: how to speak to the servers; None is plain text.
        limits: of the replies.
    """

    timeout_ms: int = 1000
    connect_timeout_ms: int = 200
    pool_size: int = 16
    pool_wait_ms: float = math.inf
    pool_max_waiters: int = 64
    connection_max_age_s: float = 30.0
    eject_after: int = 5
    ejection_s: float = 0.5
    max_ejection_s: float = 4.0
    resolve_every_s: float = 30.0
    retry_ratio: float = 0.2
    retries_per_s: float = 10.0
    tls: ClientTls | None = None
    limits: Limits = field(default_factory=Limits)


class RetryBudget:
    """A token bucket: each call puts in a fraction of a retry, each second a few more, a retry
    takes one out."""

    _BURST_S = 10

    def __init__(self, policy: Policy) -> None:
        self._ratio = policy.retry_ratio
        self._per_s = policy.retries_per_s
        self._most = max(1.0, self._per_s * self._BURST_S)
        self._tokens = max(1.0, self._per_s)
        self._filled_at_s = time.monotonic()
        self._calls = itertools.count(1)
        self._counted = self._filled_with = 0
        self._lock = threading.Lock()

    def count_call(self) -> None:
        self._counted = next(
            self._calls
        )  # PERF: one step of the interpreter's, which needs no lock

    def take(self) -> bool:
        """True if a retry may be made; it is then paid for."""
        with self._lock:
            now_s = time.monotonic()
            counted = self._counted
            earned = (now_s - self._filled_at_s) * self._per_s + (
                counted - self._filled_with
            ) * self._ratio
            self._tokens = min(self._most, self._tokens + earned)
            self._filled_at_s, self._filled_with = now_s, counted
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
