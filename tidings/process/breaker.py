"""Spares a step that keeps failing: after some failures in a row only one caller a while tries it
again.

The Thrift client asks its last endpoint come what may, which is right for a client and wrong for a
ladder: with a frozen recommender every reader would wait out the time-out before seeing a page that
was ready all along.

    if breaker.allows():
        call()
        breaker.succeeded()  # or breaker.failed()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Ask `allows()` before a call, and tell it afterwards how the call went. Safe for threads.

    Args:
        opens_after: failures in a row.
        rest_s: between two tries while it is open.
    """

    def __init__(
        self, *, opens_after: int, rest_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._opens_after = opens_after
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try_s = 0.0

    def allows(self) -> bool:
        """True if the call may be made. While the breaker is open, True once every `rest_s`."""
        if self._failures < self._opens_after:
            return True
        with self._lock:
            now_s = self._monotonic()
            if now_s < self._next_try_s:
                return False
            self._next_try_s = now_s + self._rest_s
            return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._next_try_s = self._monotonic() + self._rest_s
