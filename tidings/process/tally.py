"""Counts calls for prometheus_client, at a tenth of what its own objects take for each.

Finding a metric by its labels, adding to it and putting a time into its histogram took a fifth of a
bare call. So how long each call took goes into a list, and the lists are handed over when a scrape
asks for the metrics, when one has grown long, and, where the metrics of several worker processes
are read from files and a scrape asks another process, a quarter of a second after the first call.
Rejected: metrics of our own, which would have no multi-process form.

    calls = Tally(Counter("calls", "Calls", ["method", "outcome"]))
    calls.add("user_recommend", "ok", took_s=0.002)
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric

from tidings.process.shared_metrics import is_shared

_MOST_PENDING = 256
_LATEST_S = 0.25


class Seconds(Histogram):
    """A histogram that takes many observations at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """What `observe` would do with one after the other."""
        ordered = sorted(amounts)
        self._sum.inc(sum(ordered))
        begin = 0
        for bound, bucket in zip(self._upper_bounds, self._buckets, strict=True):
            end = bisect_right(ordered, bound)
            if end > begin:
                bucket.inc(end - begin)
            begin = end


class Tally:
    """Adds up calls by two labels.

    Args:
        calls: counts them; the labels are its labels.
        seconds: how long they took, by the first of the labels alone.
    """

    def __init__(self, calls: Counter, seconds: Seconds | None = None) -> None:
        self._calls = calls
        self._seconds = seconds
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], list[float]] = {}
        _sources.add(self)

    def add(self, name: str, outcome: str, took_s: float) -> None:
        """One more call. Takes no lock: appending to a list is one step of the interpreter's."""
        try:
            pending = self._pending[name, outcome]
        except KeyError:
            pending = self.pending(name, outcome)
        pending.append(took_s)
        count = len(pending)
        if count >= _MOST_PENDING:
            hand_over_all()
        elif count == 1 and is_shared():
            _later.hand_over()

    def pending(self, name: str, outcome: str) -> list[float]:
        """How long the calls took that are not yet handed over; who appends here sees to it that
        others `add`."""
        return self._pending.setdefault((name, outcome), [])

    def hand_over(self) -> None:
        """Bring the metrics up to date."""
        with self._lock:
            for (name, outcome), pending in list(self._pending.items()):
                taken = pending[:]
                del pending[: len(taken)]  # what was appended meanwhile stays
                if taken:
                    self._calls.labels(name, outcome).inc(len(taken))
                    if self._seconds is not None:
                        self._seconds.labels(name).observe_all(taken)

    def forget(self) -> None:
        """In a new process: what is pending is its parent's to hand over."""
        self._lock = threading.Lock()
        for pending in self._pending.values():
            pending.clear()


class Level:
    """Shows how much there is of something, looking only when the metrics are brought up to date.

    Args:
        look: how much there is now; gauges of several levels add up.
    """

    def __init__(self, gauge: Gauge, look: Callable[[], int]) -> None:
        self._gauge = gauge
        self._look = look
        self._lock = threading.Lock()
        self._shown = 0
        _sources.add(self)

    def hand_over(self) -> None:
        with self._lock:
            now = self._look()
            self._gauge.inc(now - self._shown)
            self._shown = now

    def forget(self) -> None:
        self._lock = threading.Lock()


def hand_over_all() -> None:
    """Bring every metric up to date."""
    for source in list(_sources):
        source.hand_over()


class _Later:
    """Hands over a while from now, with one timer at a time.

    If each list that was empty started a timer, each hand-over by another would leave one more,
    until there is a thread for each call.
    """

    def __init__(self) -> None:
        self.forget()

    def hand_over(self) -> None:
        if not self._is_due.acquire(blocking=False):
            return
        timer = threading.Timer(_LATEST_S, self._hand_over_now)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the system has no more threads
            self._is_due.release()

    def _hand_over_now(self) -> None:
        # Released first: what comes while the lists are emptied may need the next timer.
        self._is_due.release()
        hand_over_all()

    def forget(self) -> None:
        """In a new process, which has not its parent's timer."""
        self._is_due = threading.Lock()


class _HandOver:
    """Collected first of all, since it is registered before the metrics that it brings up to
    date."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        hand_over_all()
        return ()


def _forget_all() -> None:
    _later.forget()
    for source in list(_sources):
        source.forget()


_later = _Later()
_sources: weakref.WeakSet[Tally | Level] = weakref.WeakSet()
REGISTRY.register(_HandOver())
os.register_at_fork(after_in_child=_forget_all)
