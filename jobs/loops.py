"""Work that never ends, in a thread that is watched: an error is logged, counted and waited out,
never the end of it.

For what must follow within a second rather than on a minute. Rejected: an interval trigger of a
second; a slow round would be skipped with a warning, and an idle one could not wait inside Redis
for news.

    Loop("behaviour_fold", partial(fold_loop, context), stopping).start()
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from prometheus_client import Counter

from tidings.process.backoff import pause_s

log = structlog.get_logger(__name__)
_ERRORS = Counter("tidings_jobs_loop_errors", "Rounds of a loop that failed", ["loop"])


class Loop:
    """Calls `work` again and again until `stopping` is set. `work` waits by itself when there is
    nothing to do."""

    def __init__(self, name: str, work: Callable[[], object], stopping: threading.Event) -> None:
        self.name = name
        self._work = work
        self._stopping = stopping
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._work()
                failures = 0
            except Exception as ex:  # noqa: BLE001 - counted and logged; the next round may well succeed
                _ERRORS.labels(self.name).inc()
                failures += 1
                wait_s = pause_s(failures)
                log.warning("loop_round_failed", loop=self.name, error=repr(ex), pause_s=wait_s)
                self._stopping.wait(wait_s)
