"""What other programs of a busy machine take from the processes under test, told apart from what
these take themselves.

A process is late on its own account if it was late although it had a core. Rejected: limits so wide
that no machine is too slow for them, which no defect is too slow for either.

    stolen = StolenTime(lambda: [pid])
    before_s = stolen.look()
    ask()
    excused_s = stolen.look() - before_s
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERY_S = 0.02


class StolenTime:
    """A clock of stolen time: it adds up how long this process did not look, and how long the
    threads of others had no core. It wants to be looked at every `EVERY_S`.

    Args:
        processes: the ids of those that are asked, as they are now.
    """

    def __init__(self, processes: Callable[[], list[int]]) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._before_s, self._waited_s = time.monotonic(), in_line_s(processes())
        self.total_s = 0.0

    def look(self) -> float:
        """The seconds that were stolen from the beginning until now."""
        with self._lock:
            now_s, waited_s = time.monotonic(), in_line_s(self._processes())
            took_s = now_s - self._before_s
            slept_s = max(0.0, took_s - 2 * EVERY_S)
            # Two threads in line at once have lost one time.
            self.total_s += max(slept_s, min(took_s, waited_s - self._waited_s))
            self._before_s, self._waited_s = now_s, waited_s
            return self.total_s


def in_line_s(processes: list[int]) -> float:
    """How long the threads of these processes were ready to run while no core was free."""
    total_ns = 0
    for process in processes:
        for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended
                total_ns += int(thread.read_text().split()[1])
    return total_ns / 1e9
