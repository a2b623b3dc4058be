"""The last sessions of all readers: what was clicked in which order, when, and in which context.

Two flat tables, written by index and read by numpy without a copy: the last ten articles of a
session with their moments. A session ends after thirty idle minutes; the oldest makes room. One
reader's clicks stay in one session and count once an article, a hundred articles at most, so that
a million reports by one reader move little. Rejected: a dict of lists, at ten times the memory, and
nothing that numpy can gather from.

    sessions = Sessions(2**18)
    sessions.place(7, slot, at_s, context=0)  # Place(entry=0, is_later=False)
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEPTH = 10
IDLE_S = 30 * 60
LONGEST = 100
# An entry names a click in 31 bits: how often its session's row had been used before (the last nine
# bits of that), the row, and the column.
COLUMN_BITS = 4
ROW_BITS = 18
TURN_MASK = (1 << 9) - 1
_EMPTY = array("i", [-1]) * DEPTH


class Place(NamedTuple):
    """Where a click was put down. `entry` is -1 where it was not: a repeat, a straggler from
    before the session, or one of too many."""

    entry: int
    is_later: bool
    counts: bool


class Sessions:
    """A ring of sessions; the newest overwrites the oldest.

    Attributes:
        articles: (sessions, DEPTH) int32, the slots of articles, -1 where there is none.
        times: (sessions, DEPTH) uint32, seconds since the epoch.
        lengths: (sessions,) int32, how many clicks each has had.
        contexts: (sessions,) uint8.
        turns: (sessions,) int32, how often each row was used before, as an entry says it.
    """

    def __init__(self, number: int) -> None:
        if number > 1 << ROW_BITS:
            raise ValueError(f"an entry cannot name one of {number} sessions")
        self._number = number
        self._turns = array("i", bytes(4 * number))
        self._articles = array("i", [-1]) * (number * DEPTH)
        self._times = array("I", bytes(4 * number * DEPTH))
        self._lengths = array("i", bytes(4 * number))
        self._contexts = array("B", bytes(number))
        self._readers = array("q", bytes(8 * number))
        self._last_s = array("q", bytes(8 * number))
        self._of: dict[int, int] = {}
        self._next = 0
        self.articles: NDArray[np.int32] = np.frombuffer(self._articles, np.int32).reshape(
            number, DEPTH
        )
        self.times: NDArray[np.uint32] = np.frombuffer(self._times, np.uint32).reshape(
            number, DEPTH
        )
        self.lengths: NDArray[np.int32] = np.frombuffer(self._lengths, np.int32)
        self.turns: NDArray[np.int32] = np.frombuffer(self._turns, np.int32)
        self.contexts: NDArray[np.uint8] = np.frombuffer(self._contexts, np.uint8)

    def place(self, reader_id: int, article: int, at_s: int, context: int) -> Place:
        """Put a click down in its reader's session, or in a new one."""
        session = self._of.get(reader_id, -1)
        if session >= 0:
            gap_s = at_s - self._last_s[session]
            if gap_s < -IDLE_S:
                return Place(-1, is_later=False, counts=True)
            if gap_s > IDLE_S:
                session = -1
        if session < 0:
            session = self._begin(reader_id, context)
        length = self._lengths[session]
        base = session * DEPTH
        self._last_s[session] = max(self._last_s[session], at_s)
        if article in self._articles[base : base + DEPTH] or length >= LONGEST:
            return Place(-1, is_later=False, counts=False)
        if context and not self._contexts[session]:
            self._contexts[session] = context
        column = length % DEPTH
        self._articles[base + column] = article
        self._times[base + column] = at_s
        self._lengths[session] = length + 1
        row = self._turns[session] << ROW_BITS | session
        return Place(row << COLUMN_BITS | column, is_later=length > 0, counts=True)

    def take_back(self, reader_id: int, article: int) -> Taken | None:
        """Remove a click from the reader's session; None if it is not in it."""
        session = self._of.get(reader_id, -1)
        if session < 0:
            return None
        base = session * DEPTH
        try:
            column = self._articles.index(article, base, base + DEPTH) - base
        except ValueError:
            return None
        self._articles[base + column] = -1
        is_first = column == 0 and self._lengths[session] <= DEPTH
        return Taken(self._times[base + column], not is_first, self._contexts[session])

    def forget(self, gone: NDArray[np.bool_]) -> None:
        """Remove articles from every session; `gone` says of each slot whether it is to go."""
        known = np.append(gone, False)  # -1, an empty place, is the last one
        self.articles[known[self.articles]] = -1

    def _begin(self, reader_id: int, context: int) -> int:
        session = self._next
        self._next = (session + 1) % self._number
        before = self._readers[session]
        if self._of.get(before) == session:
            del self._of[before]
        self._articles[session * DEPTH : (session + 1) * DEPTH] = _EMPTY
        self._lengths[session] = 0
        self._turns[session] = (self._turns[session] + 1) & TURN_MASK
        self._last_s[session] = 0
        self._contexts[session] = context
        self._readers[session] = reader_id
        self._of[reader_id] = session
        return session


class Taken(NamedTuple):
    """A click that was taken back: when it had been made, and how it had counted."""

    at_s: int
    is_later: bool
    context: int
