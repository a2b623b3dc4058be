"""One reader's calls take turns, so that a thousand of them cost the others no more than a few do.

Of several calls at once for one reader only one can record its batch, and the others would have
chosen in vain. In one process they wait for each other, which costs nothing; between processes
`History.record` tells. While a queue is there, its reader gets a share of one thread and no more;
beyond a bound calls are refused. Rejected: trying again until it is recorded, with which one
reader's 200 connections took 99 of 100 answers; a fixed number of locks that readers share, where
one reader's queue holds up strangers; and a lock a reader, which wakes its waiters in no order, so
that one of them waited ten seconds.

    turns = Turns(most=16)
    with turns.of(reader_id):
        choose_and_record()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from tidings.process.deadline import current_deadline

# A queue of more than these gets one part of this many of a thread's time. With two gateways, each
# of which asks twice, a person has four calls waiting at most.
UNPACED = 4
PACED_SHARE = 5
LONGEST_PAUSE_S = 0.05

REFUSED = Counter(
    "tidings_reader_busy_total", "Calls refused since too many for the same reader were waiting"
)


class ReaderBusyError(Exception):
    """So many calls for one reader at once that this one could not be served; it may be tried
    again.

    Attributes:
        hold_back_s: the answer waits so long, outside of the calls in flight, since connections
            that ask again at once would be refused as fast as they ask.
    """

    hold_back_s = 1.0

    def __init__(self) -> None:
        super().__init__("too many requests for this reader at once; try again")


class _Queue:
    """The calls of one reader that wait or are served, in the order in which they came: the first
    has its turn, and each is told when it is the first."""

    __slots__ = ("calls", "free_at_s")

    def __init__(self) -> None:
        self.calls: deque[threading.Event] = deque()
        self.free_at_s = 0.0


class Turns:
    """Lets one call of a reader through at a time.

    Args:
        most: calls of one reader that wait or are served; one more is refused.
        monotonic: seconds of a clock that is never set.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        most: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._sleep = sleep
        self._queues: dict[int, _Queue] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, reader_id: int) -> Iterator[None]:
        """Wait for this reader's turn, and have it until the block ends.

        Raises:
            ReaderBusyError: too many wait already, or the turn did not come within the deadline.
        """
        queue, turn = self._join(reader_id)
        try:
            if not turn.wait(_left_s()):
                REFUSED.inc()
                raise ReaderBusyError
            yield from self._serve(queue)
        finally:
            self._leave(reader_id, queue, turn)

    def _serve(self, queue: _Queue) -> Iterator[None]:
        pause_s = queue.free_at_s - self._monotonic()
        if pause_s > 0:
            self._sleep(min(pause_s, LONGEST_PAUSE_S))
        started_s = self._monotonic()
        try:
            yield
        finally:
            ended_s = self._monotonic()
            paced = len(queue.calls) > UNPACED
            pause_s = (PACED_SHARE - 1) * (ended_s - started_s) if paced else 0.0
            queue.free_at_s = ended_s + pause_s

    def _join(self, reader_id: int) -> tuple[_Queue, threading.Event]:
        with self._lock:
            queue = self._queues.get(reader_id)
            if queue is None:
                queue = self._queues[reader_id] = _Queue()
            if len(queue.calls) == self._most:
                REFUSED.inc()
                raise ReaderBusyError
            turn = threading.Event()
            queue.calls.append(turn)
            queue.calls[0].set()
            return queue, turn

    def _leave(self, reader_id: int, queue: _Queue, turn: threading.Event) -> None:
        with self._lock:
            queue.calls.remove(turn)
            if queue.calls:
                queue.calls[0].set()
            else:
                del self._queues[reader_id]


def _left_s() -> float | None:
    deadline = current_deadline()
    return None if deadline is None else max(0.0, deadline.remaining_ms() / 1000)
