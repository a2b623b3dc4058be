"""The threads that answer requests, and who waits for one: each line in its turn.

A client that asks for more than its share waits behind itself: a thread that comes free takes the
oldest request of the line whose turn it is, and each address has lines of its own, so that a
thousand requests of one address hold up those of another by one. How long a request would wait is
told before it waits, by how long the ones before took. Rejected: concurrent.futures, which serves
in the order of arrival.

    if work.expected_wait_s(line := "192.0.2.7") < 1:
        work.put(line, connection, until_s=readable_s + 2)
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import structlog

Job = TypeVar("Job")
# How much the newest request counts in what one takes: about the last twenty are remembered.
_WEIGHT = 0.05
# Before any was answered.
_FIRST_GUESS_S = 0.005

log = structlog.get_logger(__name__)


class WorkQueue(Generic[Job]):
    """Threads that do what is put in.

    Args:
        do: called with each, in a thread.

    Attributes:
        service_s: how long one takes a thread at present.
    """

    def __init__(self, threads: int, do: Callable[[Job], None]) -> None:
        self._do = do
        self._count = threads
        self._lines: OrderedDict[str, deque[tuple[float, Job]]] = OrderedDict()
        self._waiting = 0
        self._ends = False
        self._changed = threading.Condition()
        self.service_s = self._busy_s = _FIRST_GUESS_S
        # How far apart they are done while others wait, and when the last of those was.
        self._apart_s = 0.0
        self._done_s: float | None = None
        for number in range(threads):
            threading.Thread(target=self._run, name=f"door-{number}", daemon=True).start()

    def put(self, line: str, job: Job, until_s: float) -> None:
        """Do it when the turn of `line` comes; after `until_s` it is no use any more."""
        with self._changed:
            self._lines.setdefault(line, deque()).append((until_s, job))
            self._waiting += 1
            self._changed.notify()

    def expected_wait_s(self, line: str) -> float:
        """How long one more in `line` would wait for a thread."""
        with self._changed:
            own = len(self._lines.get(line, ()))
            # Those of the others that come before it: as many of each as of its own, at most all.
            before = min(self._waiting, (own + 1) * len(self._lines))
        # Python's threads share one processor, and this process shares the machine: what one takes
        # alone says little of many, until there are so many that it can be seen.
        return before * max(self._busy_s, self.service_s / self._count, self._apart_s)

    def take_late(self, now_s: float) -> Iterator[Job]:
        """Those that waited until it was no use any more; nothing is done with them here."""
        late: list[Job] = []
        with self._changed:
            for line, jobs in list(self._lines.items()):
                while jobs and jobs[0][0] < now_s:
                    late.append(jobs.popleft()[1])
                if not jobs:
                    del self._lines[line]
            self._waiting -= len(late)
        return iter(late)

    def learn(self, took_s: float, busy_s: float) -> None:
        """One was done: it took a thread, and a processor, this long."""
        # Threads may overwrite each other's; it is an estimate.
        self.service_s += (took_s - self.service_s) * _WEIGHT
        self._busy_s += (busy_s - self._busy_s) * _WEIGHT
        with self._changed:
            done_s = time.monotonic()
            if not self._waiting:
                self._apart_s = 0.0
            elif self._done_s is not None:
                apart_s = done_s - self._done_s
                self._apart_s += (apart_s - self._apart_s) * _WEIGHT
            self._done_s = done_s if self._waiting else None

    def shutdown(self, wait: bool = True) -> None:
        """Begin nothing more."""
        del wait
        with self._changed:
            self._ends = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (job := self._take()) is not None:
            try:
                self._do(job)
            except Exception:  # a request that fails takes no thread with it
                log.exception("request_lost")

    def _take(self) -> Job | None:
        with self._changed:
            while not self._lines and not self._ends:
                self._changed.wait()
            if self._ends:
                return None
            line, jobs = self._lines.popitem(last=False)
            _, job = jobs.popleft()
            self._waiting -= 1
            if jobs:
                self._lines[line] = jobs
            return job
