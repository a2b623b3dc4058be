"""One request's walk: from the articles that the reader clicked, over the latest clicks on them, to
what their readers clicked before and after.

There are no counts of pairs. The latest clicks of an article point into the table of sessions; one
gather brings those sessions, and each signal is one weighted `bincount` over the same cells. That
ties with exact pair counts (.6095 against .6095 of hit@10 for the same signals), costs a third of a
millisecond, and is never behind. Rejected: pair counts kept while folding, for which every click
pays, and which forget at one speed only.

    walk = signals.walk(session=[12, 7], earlier=[], context=0, now_s=now_s)
    walk.slots        # what was found, and for each of them:
    walk.sums(Window.M20)  # Σ over the session of P(next | clicked) / distance
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.recommender.signals.sessions import COLUMN_BITS, DEPTH, Sessions

# How many of its latest clicks are walked for the last article, the next three and the others.
WALKED = (600, 300, 300, 300, 150, 150, 150, 150, 150, 150)
WALKED_EARLIER = 20
# Two imagined clicks that led nowhere, so that one reader does not make a certainty.
PRIOR = 2.0
KNN_ARTICLES = 4
KNN_CLICKS = 300
KNN_MISMATCH = 0.4
KNN_BEFORE = 0.3
FORGOTTEN_S = 24 * 3600
_COLUMN_MASK = (1 << COLUMN_BITS) - 1
_NO_ENTRIES: NDArray[np.int32] = np.empty(0, np.int32)
_DISTANCES = np.arange(-DEPTH, DEPTH + 1)
# By distance: the next counts 1 and what follows e^(-1/2) of it each, what came before KNN_BEFORE.
_NEAR = np.where(_DISTANCES > 0, np.exp((1 - _DISTANCES) / 2), KNN_BEFORE)


class Asked(NamedTuple):
    """A reader's clicks as slots, newest first, and how they came; -1 for what is not known."""

    session: Sequence[int]
    earlier: Sequence[int]
    context: int
    now_s: float


class Window(IntEnum):
    """Half-lives of a walk; the value is the power of the 24-hour decay that makes it."""

    DAY = 1
    H3 = 8
    H1 = 24
    M20 = 72
    M10 = 144


class Walk:
    """What was found for one request. Signals are made when they are asked for, all (n,) float64
    and parallel to `slots`.

    Args:
        entries: for each article of the session, then for each earlier one, its latest clicks,
            oldest first.
        seats: scratch of the caller's, one place a slot.

    Attributes:
        slots: (n,) intp: the articles that the walked sessions hold besides.
    """

    def __init__(
        self,
        asked: Asked,
        entries: Sequence[NDArray[np.int32]],
        sessions: Sessions,
        seats: NDArray[np.intp],
    ) -> None:
        self._asked = asked
        self._length = len(asked.session)
        walked = np.array([*asked.session, *asked.earlier], np.int32)
        entry = np.concatenate([*entries, _NO_ENTRIES])
        source = np.repeat(np.arange(len(walked)), [len(some) for some in entries])
        session, column = entry >> COLUMN_BITS, entry & _COLUMN_MASK
        articles = sessions.articles[session]
        own = walked[source]
        # An entry is stale once its session was overwritten, or its click taken back.
        alive = articles[np.arange(len(entry)), column] == own
        if not alive.all():
            source, session, column = source[alive], session[alive], column[alive]
            articles, own = articles[alive], own[alive]
        day = self._decay(sessions.times[session, column])
        # Two readings of one context: 0 where both are the same, 1 where one is, 2 where none is.
        contexts = sessions.contexts[session]
        other_device = (contexts >> 4) != asked.context >> 4
        other_referrer = (contexts & 15) != asked.context & 15
        self._strange = other_device.astype(np.intp) + other_referrer
        self._other_referrer = other_referrer
        self._source, self._day = source, day
        counts = np.bincount(source, minlength=len(walked))
        self._rank = np.cumsum(counts)[source] - np.arange(len(source))

        cells = np.flatnonzero((articles >= 0) & (articles != own[:, None]))
        row, there = cells // DEPTH, cells % DEPTH
        length = sessions.lengths[session][row]
        # Beyond ten clicks a session writes over its oldest: columns turn into ordinals.
        here = column[row]
        wrapped = length - 1 - (length - 1 - there) % DEPTH
        wrapped_here = length - 1 - (length - 1 - here) % DEPTH
        self._distance = np.where(length > DEPTH, wrapped - wrapped_here, there - here)
        self._row = row
        self._of = source[row]
        self._cell_day = self._decay(sessions.times[session[row], there])
        found = articles.ravel()[cells].astype(np.intp)
        self.slots, self._to = _compact(found, seats)
        self._seats = seats

    def __len__(self) -> int:
        return len(self.slots)

    def places_of(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where each of these stands in `slots`, (n,) intp; -1 if it was not found."""
        if not len(self.slots):
            return np.full(len(slots), -1, np.intp)
        places = np.clip(self._seats[slots], 0, len(self.slots) - 1)
        return np.where((slots >= 0) & (self.slots[places] == slots), places, -1)

    def at(
        self, slots: NDArray[np.intp], signals: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """These signals at these slots, (n, len(signals)); 0 where nothing was found."""
        places = self.places_of(slots)
        columns = np.zeros((len(slots), len(signals)))
        found = places >= 0
        for number, signal in enumerate(signals):
            columns[found, number] = signal[places[found]]
        return columns

    def sums(self, window: Window) -> NDArray[np.float64]:
        """Σ over the session of P(later | clicked) / d, d = 1 for the last click.

        P = Σ decay of the later clicks ÷ (Σ decay of the article's walked clicks + `PRIOR`).
        """
        ahead = self._ahead
        weights = self._power(self._cell_day[ahead], window) * self._shares(window)[self._of[ahead]]
        return self._count(ahead, weights)

    def earlier(self) -> NDArray[np.float64]:
        """The same over the reader's earlier sessions, all alike."""
        behind = np.flatnonzero((self._distance > 0) & (self._of >= self._length))
        weights = self._power(self._cell_day[behind], Window.H3)
        walked = self._walked(Window.H3)
        return self._count(behind, weights / (walked[self._of[behind]] + PRIOR))

    def adjacent(self) -> NDArray[np.float64]:
        """What came straight after the last click, half-life 10 minutes."""
        weights = self._power(self._cell_day[self._next], Window.M10)
        return self._count(self._next, weights / (self._last_walked(Window.M10) + PRIOR))

    def next_share(self, transitions: int) -> NDArray[np.float64]:
        """Of the last so many clicks that followed the last click's article, each one's share."""
        latest = self._next[-transitions:]
        return self._count(latest, np.full(len(latest), 1.0 / max(len(latest), 1)))

    def next_share_of_referrer(self) -> NDArray[np.float64]:
        """The share of the clicks that followed it in sessions of the same referrer, 1 h."""
        return self._next_among(~self._other_referrer[self._row[self._next]])

    def next_share_of_context(self) -> NDArray[np.float64]:
        """The share of those in sessions of the same referrer on the same device, 1 h."""
        return self._next_among(self._strange[self._row[self._next]] == 0)

    def neighbours(self) -> NDArray[np.float64]:
        """Sessions like this one: those that hold one of the last four articles, the nearer in
        time, in context and in the session the more, and in each what came next the most."""
        near = (self._rank <= KNN_CLICKS) & (self._source < min(KNN_ARTICLES, self._length))
        cells = np.flatnonzero(near[self._row])
        row = self._row[cells]
        alike = self._power(self._day, Window.M20) * KNN_MISMATCH**self._strange
        alike = alike / (self._source + 1.0)
        return self._count(cells, alike[row] * _NEAR[self._distance[cells] + DEPTH])

    def together(self) -> NDArray[np.float64]:
        """Σ over the session of the decayed sessions that hold both, 3 h, in either order, / d; to
        be divided by the roots of both counts."""
        cells = np.flatnonzero(self._of < self._length)
        roots = np.sqrt(self._walked(Window.H3) + 1.0)
        of = self._of[cells]
        weights = self._power(self._cell_day[cells], Window.H3) / ((of + 1.0) * roots[of])
        return self._count(cells, weights)

    def because(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each place in `slots` which walked article led there most; (n,) indices into the
        session, then the earlier ones."""
        width = self._length + len(self._asked.earlier)
        onward = np.flatnonzero(self._distance > 0)
        weights = (
            self._power(self._cell_day[onward], Window.H3)
            * self._shares(Window.H3)[self._of[onward]]
        )
        table = np.bincount(
            self._to[onward] * width + self._of[onward], weights, minlength=len(self) * width
        ).reshape(-1, width)
        return np.asarray(table[places].argmax(axis=1), np.intp)

    def _decay(self, times: NDArray[np.uint32]) -> NDArray[np.float32]:
        ages = (self._asked.now_s - times).astype(np.float32)
        # A clock that was set back must not make the past weigh more than now.
        np.maximum(ages, 0.0, out=ages)
        return np.asarray(np.exp2(ages * np.float32(-1.0 / FORGOTTEN_S)), np.float32)

    @staticmethod
    def _power(day: NDArray[np.float32], window: Window) -> NDArray[np.float64]:
        return np.asarray(np.asarray(day, np.float64) ** int(window), np.float64)

    @cached_property
    def _ahead(self) -> NDArray[np.intp]:
        return np.flatnonzero((self._distance > 0) & (self._of < self._length))

    @cached_property
    def _next(self) -> NDArray[np.intp]:
        if not self._length:
            return np.empty(0, np.intp)
        return np.flatnonzero((self._distance == 1) & (self._of == 0))

    def _walked(self, window: Window) -> NDArray[np.float64]:
        width = self._length + len(self._asked.earlier)
        counts = np.bincount(self._source, self._power(self._day, window), minlength=width)
        return np.asarray(counts, np.float64)

    def _last_walked(self, window: Window) -> float:
        return float(self._power(self._day[self._source == 0], window).sum())

    def _shares(self, window: Window) -> NDArray[np.float64]:
        walked = self._walked(window)
        return 1.0 / ((np.arange(len(walked)) + 1.0) * (walked + PRIOR))

    def _next_among(self, alike: NDArray[np.bool_]) -> NDArray[np.float64]:
        cells = self._next[alike]
        weights = self._power(self._cell_day[cells], Window.H1)
        return self._count(cells, weights / (weights.sum() + PRIOR))

    def _count(self, cells: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = np.bincount(self._to[cells], weights, minlength=len(self.slots))
        return np.asarray(counts, np.float64)


def _compact(
    found: NDArray[np.intp], seats: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The different values and for each of `found` which it is. `np.unique` sorts for that, which
    took four times as long."""
    order = np.arange(len(found))
    seats[found] = order
    slots = found[seats[found] == order]
    seats[slots] = np.arange(len(slots))
    return slots, seats[found]
