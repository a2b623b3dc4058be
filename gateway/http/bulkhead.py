"""A bound on how many requests of one kind are at work at once, so that the others keep their
threads.

A request beyond it is refused at once rather than made to wait: a thread that waits for a lock of
the database reads no feed. Rejected: an executor of its own for each kind; the server has given the
request a thread already, and it would wait there for the other one.

    buying = Bulkhead("orders", most=8)
    with buying:
        place(...)
"""

from __future__ import annotations

import threading

from prometheus_client import Counter

_REFUSED = Counter(
    "tidings_bulkhead_refused",
    "Requests refused because too many of their kind are at work",
    ["kind"],
)


class TooBusyError(Exception):
    """As many requests of this kind as may be are at work; the same one may be sent again soon."""


class Bulkhead:
    """Lets at most `most` threads in at once.

    Args:
        kind: the word under which refusals are counted.
    """

    def __init__(self, kind: str, most: int) -> None:
        self._kind = kind
        self._room = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        """Raises:
        TooBusyError: there is no room; nothing was begun.
        """
        if not self._room.acquire(blocking=False):
            _REFUSED.labels(self._kind).inc()
            raise TooBusyError(f"too many requests about {self._kind} at once; nothing was begun")

    def __exit__(self, *_: object) -> None:
        self._room.release()
