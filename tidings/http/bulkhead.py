"""A bound on how many requests of one kind are at work at once, so that the others keep their
threads.

A burst waits for a moment rather than be refused while threads idle; who waits holds a thread,
though, so those who are inside, at work or waiting, are bounded as well. Rejected: a room without a
bound on those who wait; beside a lock of the database all threads would stand at its door.
Rejected: an executor of its own for each kind; the server has given the request a thread already,
and it would wait there for the other one.

    buying = Bulkhead("orders", most=4, threads=[BoundedSemaphore(8)])
    with buying:
        place(...)
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from prometheus_client import Counter

from tidings.process.deadline import current_deadline

# Of the time that a request has left. The rest has to do for the work, and for its answer.
WAIT_SHARE = 0.25

_REFUSED = Counter(
    "tidings_bulkhead_refused",
    "Requests refused because too many of their kind are at work",
    ["kind"],
)


class TooBusyError(Exception):
    """As many requests of this kind as may be are at work; the same one may be sent again soon."""


class Bulkhead:
    """Lets at most `most` threads work at once; others wait for WAIT_SHARE of their deadline, and
    not at all without one.

    Args:
        kind: the word under which refusals are counted.
        threads: each holds one place for a request that works or waits here. Where one has none,
            the request is refused at once. Several rooms may share one.
    """

    def __init__(
        self, kind: str, most: int, threads: Sequence[threading.BoundedSemaphore] = ()
    ) -> None:
        self._kind = kind
        self._threads = threads
        self._room = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        """Raises:
        TooBusyError: there is no room; nothing was begun.
        """
        with ExitStack() as held:
            for places in self._threads:
                if not places.acquire(blocking=False):
                    raise self._refuse()
                held.callback(places.release)
            if not self._room.acquire(timeout=_patience_s()):
                raise self._refuse()
            held.pop_all()

    def __exit__(self, *_: object) -> None:
        self._room.release()
        for places in self._threads:
            places.release()

    def _refuse(self) -> TooBusyError:
        _REFUSED.labels(self._kind).inc()
        return TooBusyError(f"too many requests about {self._kind} at once; nothing was begun")


def _patience_s() -> float:
    deadline = current_deadline()
    return 0 if deadline is None else max(deadline.remaining_ms(), 0) / 1000 * WAIT_SHARE
