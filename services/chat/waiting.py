"""Sockets that have a moment left: to ask, to say hello, to leave.

All of one line have equally long, so the oldest is always the next to be late, and a look costs
nothing while none is. More than a line may hold push out its oldest, so that a crowd that only
connects cannot shut the door for those who speak at once. Rejected: a timer a socket, which is
memory for each of them and for nearly all of them never rings.

    line = Line(within_s=5.0, most=1000)
    line.add(session, time.monotonic())
    line.give_up_late(time.monotonic())  # says session.give_up(late=True) to those past their time
"""

from __future__ import annotations

from typing import Protocol


class Waiter(Protocol):
    """What stands in a line."""

    def give_up(self, *, late: bool) -> None:
        """Its time is over, or its place is needed. It must not wait."""


class Line:
    """Those that wait, in order.

    Args:
        most: one more pushes out the oldest.
    """

    def __init__(self, within_s: float, most: int) -> None:
        self._within_s = within_s
        self._most = most
        self._until_s: dict[Waiter, float] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, waiter: Waiter, now_s: float) -> None:
        """At the end of the line, with all its time left."""
        self._until_s.pop(waiter, None)
        if len(self._until_s) >= self._most:
            oldest = next(iter(self._until_s))
            del self._until_s[oldest]
            oldest.give_up(late=False)
        self._until_s[waiter] = now_s + self._within_s

    def remove(self, waiter: Waiter) -> None:
        """It is past the line. One that is not there is none the worse."""
        self._until_s.pop(waiter, None)

    def give_up_late(self, now_s: float) -> None:
        """Take out all whose time is over."""
        while self._until_s:
            oldest = next(iter(self._until_s))
            if self._until_s[oldest] > now_s:
                return
            del self._until_s[oldest]
            oldest.give_up(late=True)
