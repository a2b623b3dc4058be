"""Work of a node that never ends, each in a coroutine of its own, that is watched.

One round that fails is counted, logged and waited out, later and later; it is never the end of the
rest. How long ago a round ended is a gauge, and readiness asks it: what hangs is as visible as what
fails. Rejected: one coroutine for all of it; a database that is away would stop the bus.

    bus = Watched("bus", bus.read)
    bus.start()
    bus.is_well
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter, Gauge

from tidings.process.backoff import pause_s

# The longest wait of a round is for a database that hangs, some twenty seconds.
HANGS_AFTER_S = 60.0
# Readers wait for a Redis that is back, and a node asks for it in a few places only.
LONGEST_PAUSE_S = 1.0

log = structlog.get_logger(__name__)
_ERRORS = Counter("tidings_chat_loop_errors", "Rounds of a loop that failed", ["loop"])
_AGE = Gauge("tidings_chat_loop_age_seconds", "How long ago a loop ended a round", ["loop"])


class Watched:
    """Calls `work` again and again until it is stopped; `work` waits by itself when there is
    nothing to do."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self._work = work
        self._stopping = threading.Event()
        self._ended_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        _AGE.labels(name).set_function(lambda: self.age_s)

    @property
    def age_s(self) -> float:
        """Since a round ended, well or not."""
        return time.monotonic() - self._ended_s

    @property
    def is_well(self) -> bool:
        """It runs, and does not hang."""
        return self._thread.is_alive() and self.age_s < HANGS_AFTER_S

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no other round."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the round that is under way."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._work()
                failures = 0
            except Exception as ex:  # noqa: BLE001 - counted and logged; the next round may succeed
                _ERRORS.labels(self.name).inc()
                failures += 1
                wait_s = min(pause_s(failures), LONGEST_PAUSE_S)
                log.warning("loop_round_failed", loop=self.name, error=repr(ex), pause_s=wait_s)
                self._stopping.wait(wait_s)
            self._ended_s = time.monotonic()
