"""Distrusts the database's clock when it jumps: an order must not expire because a clock was set.

Whether something is due is decided by the one clock that all daemons share, the database's. This
process's monotonic clock cannot say what time it is, but it can say that an hour did not pass in a
second. After a jump of more than five seconds nothing is run until the clock is back, or an
operator who knows which clock is right restarts the daemon. Rejected: comparing with this machine's
wall clock, which is no more to be trusted than the other.

    guard.accepts(now, asked_at_s)  # False while delayed jobs have to wait
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog
from prometheus_client import Gauge

LARGEST_JUMP_S = 5.0

log = structlog.get_logger(__name__)
_HELD = Gauge(
    "tidings_jobs_clock_held", "1 while delayed jobs are held because the database's clock jumped"
)


def read_steady_s() -> float:
    """Seconds on a clock that no program sets; it counts the time a machine was suspended, which
    `monotonic` does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockGuard:
    """Compares each reading of the database's clock with a steady one. Shared by the look and the
    batches."""

    def __init__(self, steady_s: Callable[[], float] = read_steady_s) -> None:
        self._steady_s = steady_s
        # What the database's clock is ahead of the steady one lies between these.
        self._least_s, self._most_s = -math.inf, math.inf
        self._held = False
        self._lock = threading.Lock()

    def read_steady_s(self) -> float:
        """The steady clock that this guard compares with."""
        return self._steady_s()

    @property
    def is_held(self) -> bool:
        return self._held

    def accepts(self, database_now: datetime, asked_at_s: float | None = None) -> bool:
        """Whether that reading follows from the ones before it.

        Args:
            database_now: what the database said.
            asked_at_s: `read_steady_s()` before it was asked; a slow answer is not a jump.
        """
        now_s = self._steady_s()
        least_s = database_now.timestamp() - now_s
        most_s = database_now.timestamp() - (now_s if asked_at_s is None else asked_at_s)
        with self._lock:
            self._hold(max(least_s - self._most_s, self._least_s - most_s, 0.0))
            if not self._held:
                # Clocks drift and are slewed; only what is sudden is suspicious.
                self._least_s = min(max(self._least_s, least_s), most_s)
                self._most_s = min(max(self._most_s, least_s), most_s)
            return not self._held

    def _hold(self, jump_s: float) -> None:
        held = jump_s > LARGEST_JUMP_S
        if held and not self._held:
            log.critical(
                "database_clock_jumped", by_s=round(jump_s, 3), effect="delayed jobs are held"
            )
        if self._held and not held:
            log.warning("database_clock_back", effect="delayed jobs run again")
        self._held = held
        _HELD.set(held)
