"""The signals of one worker: what is folded from the log of behaviours, and what a request asks.

Bounded: 2^18 sessions, as many active articles, six hundred clicks an article. An article that was
not clicked for a day is dropped, looked for once an hour. Everything follows from the events in
their order, so two workers that read the same log agree. Rejected: one copy in Redis for all
workers, which costs a round trip and a lock for what a worker folds in five microseconds.

    signals = Signals()
    signals.fold([Click(7, 12, at_s=now_s, context=0, undone=False)], now_s)
    signals.walk(session=[12], earlier=[], context=0, now_s=now_s)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import repeat
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.recommender.signals.counters import Counters, context_column
from services.recommender.signals.sessions import Sessions
from services.recommender.signals.walk import WALKED, WALKED_EARLIER, Asked, Walk

SESSIONS = 2**18
MOST_ACTIVE = 2**18
RING = 600
INACTIVE_S = 24 * 3600
TIDY_EVERY_S = 3600
# A moment further ahead of this worker's clock is not believed: one event stamped next year would
# make everything else a year old.
AHEAD_S = 300
_FOLDED_AT_ONCE = 4096
# The slots of articles with ids below this stand in a table: 700 of a million are found in 10 us,
# where looking for one after the other takes 200. A page of memory is taken once it is needed, 16
# MB at most.
TABLED = 2**22


class Click(NamedTuple):
    """A reader clicked an article, or took it back."""

    reader_id: int
    article_id: int
    at_s: int
    context: int
    undone: bool


# Slot, moment, whether it was no first click, column of its context, 1 or -1.
_Counted = tuple[int, float, bool, int, float]


class Signals:
    """Not safe between threads by itself: `lock` is held round a fold, and round all arithmetic of
    a request.

    Attributes:
        ahead: how many clicks were left out because this worker's clock is not there yet.
    """

    def __init__(self, *, sessions: int = SESSIONS, most_active: int = MOST_ACTIVE) -> None:
        self.lock = Lock()
        self.ahead = 0
        self._most_active = most_active
        self._begin_anew(sessions)

    def _begin_anew(self, sessions: int) -> None:
        self._sessions = Sessions(sessions)
        self._counters = Counters()
        self._slots: dict[int, int] = {}
        # The slot + 1 by article; 0 for one that is not active.
        self._tabled: NDArray[np.int32] = np.zeros(TABLED, np.int32)
        self._free: list[int] = []
        self._rings: list[array[int] | None] = []
        self._ring_lengths = array("q")
        self._capacity = 1024
        self._ids: NDArray[np.int64] = np.zeros(self._capacity, np.int64)
        self._last_s: NDArray[np.int64] = np.zeros(self._capacity, np.int64)
        self._seats: NDArray[np.intp] = np.zeros(self._capacity, np.intp)
        self._pending: list[_Counted] = []
        self._newest_s = 0
        self._tidied_s = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def counters(self) -> Counters:
        """By slot."""
        return self._counters

    def active(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The slots in use, and the ids of their articles."""
        slots = np.fromiter(self._slots.values(), np.intp, len(self._slots))
        return slots, self._ids[slots]

    def ids_of(self, slots: NDArray[np.intp]) -> NDArray[np.int64]:
        """The articles of these slots."""
        return self._ids[slots]

    def slots_of(self, ids: ArrayLike) -> NDArray[np.intp]:
        """The slot of each article, -1 for one that is not active."""
        asked = np.asarray(ids, np.int64)
        # Unsigned, what is below 0 is above all.
        if asked.view(np.uint64).max(initial=0) < TABLED:
            return np.subtract(self._tabled.take(asked), 1, dtype=np.intp)
        found = map(self._slots.get, asked.tolist(), repeat(-1))
        return np.fromiter(found, np.intp, len(asked))

    def is_ahead(self, now_s: float) -> bool:
        """Whether these were folded by a clock that was ahead and has been set back: what is new
        would weigh nothing beside what counts as newer."""
        return self._newest_s > now_s + 2 * AHEAD_S

    def forget(self) -> None:
        """Begin anew, with nothing folded."""
        self._begin_anew(len(self._sessions.lengths))

    def fold(self, clicks: Iterable[Click], now_s: float) -> int:
        """Take clicks in; returns how many counted. Any order will do, though a click that comes
        half an hour late belongs to no session any more."""
        counted = 0
        for click in clicks:
            if not 0 <= click.at_s <= now_s + AHEAD_S:
                self.ahead += click.at_s > 0
                continue
            if click.at_s - self._tidied_s >= TIDY_EVERY_S:
                self._tidy(click.at_s)
            one = self._take_back(click) if click.undone else self._place(click)
            if one is not None:
                self._pending.append(one)
                counted += 1
            if len(self._pending) >= _FOLDED_AT_ONCE:
                self._count_pending()
        self._count_pending()
        return counted

    def walk(
        self, session: Iterable[int], earlier: Iterable[int], *, context: int, now_s: float
    ) -> Walk:
        """Walk from these articles, newest first, as many as there are numbers in `WALKED`."""
        of_session = [self._slots.get(id_, -1) for id_, _ in zip(session, WALKED, strict=False)]
        of_earlier = [self._slots.get(id_, -1) for id_ in earlier]
        entries = [
            self._latest(slot, number) for slot, number in zip(of_session, WALKED, strict=False)
        ]
        entries += [self._latest(slot, WALKED_EARLIER) for slot in of_earlier]
        asked = Asked(of_session, of_earlier, context, max(now_s, float(self._newest_s)))
        return Walk(asked, entries, self._sessions, self._seats)

    def _place(self, click: Click) -> _Counted | None:
        slot = self._slots.get(click.article_id, -1)
        if slot < 0:
            slot = self._begin(click.article_id)
        place = self._sessions.place(click.reader_id, slot, click.at_s, click.context)
        if not place.counts:
            return None
        if place.entry >= 0:
            self._append(slot, place.entry)
        self._last_s[slot] = max(self._last_s[slot], click.at_s)
        self._newest_s = max(self._newest_s, click.at_s)
        return slot, click.at_s, place.is_later, context_column(click.context), 1.0

    def _take_back(self, click: Click) -> _Counted | None:
        slot = self._slots.get(click.article_id, -1)
        taken = self._sessions.take_back(click.reader_id, slot) if slot >= 0 else None
        if taken is None:
            return None
        return slot, taken.at_s, taken.is_later, context_column(taken.context), -1.0

    def _count_pending(self) -> None:
        if self._pending:
            slots, times, later, contexts, signs = zip(*self._pending, strict=True)
            self._counters.add(slots, times, is_later=later, contexts=contexts, signs=signs)
            self._pending.clear()

    def _append(self, slot: int, entry: int) -> None:
        ring = self._rings[slot]
        if ring is None:
            ring = self._rings[slot] = array("i")
        length = self._ring_lengths[slot]
        if length < RING:
            ring.append(entry)
        else:
            ring[length % RING] = entry
        self._ring_lengths[slot] = length + 1

    def _latest(self, slot: int, number: int) -> NDArray[np.int32]:
        """The entries of the latest clicks on an article, oldest first; a copy."""
        ring = self._rings[slot] if slot >= 0 else None
        if ring is None:
            return np.empty(0, np.int32)
        length = self._ring_lengths[slot]
        end = length % RING
        if length <= RING or end >= number:
            stop = length if length <= RING else end
            return np.array(ring[max(0, stop - number) : stop], np.int32)
        return np.array(ring[end - number :] + ring[:end], np.int32)

    def _begin(self, article_id: int) -> int:
        if not self._free and len(self._rings) >= self._most_active:
            self._drop_oldest()
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._rings)
            self._rings.append(None)
            self._ring_lengths.append(0)
            if slot >= self._capacity:
                self._grow()
        self._slots[article_id] = slot
        if 0 <= article_id < TABLED:
            self._tabled[article_id] = slot + 1
        self._ids[slot] = article_id
        self._last_s[slot] = 0
        return slot

    def _grow(self) -> None:
        more = self._capacity
        self._capacity += more
        self._ids = np.pad(self._ids, (0, more))
        self._last_s = np.pad(self._last_s, (0, more))
        self._seats = np.pad(self._seats, (0, more))
        self._counters.grow(self._capacity)

    def _tidy(self, at_s: int) -> None:
        self._tidied_s = at_s - at_s % TIDY_EVERY_S
        slots, _ = self.active()
        self._drop(slots[self._last_s[slots] < at_s - INACTIVE_S])

    def _drop_oldest(self) -> None:
        """An eighth of them, so that a flood of new articles does not pay for each."""
        slots, _ = self.active()
        number = max(len(slots) // 8, 1)
        oldest = np.lexsort((self._ids[slots], self._last_s[slots]))[:number]
        self._drop(slots[oldest])

    def _drop(self, slots: NDArray[np.intp]) -> None:
        if not len(slots):
            return
        self._count_pending()  # their slots will be other articles'
        gone = np.zeros(self._capacity, np.bool_)
        gone[slots] = True
        self._sessions.forget(gone)
        self._counters.forget(slots)
        for slot in slots.tolist():
            article_id = int(self._ids[slot])
            del self._slots[article_id]
            if 0 <= article_id < TABLED:
                self._tabled[article_id] = 0
            self._rings[slot] = None
            self._ring_lengths[slot] = 0
            self._free.append(slot)
