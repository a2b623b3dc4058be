"""One request's walk: from the articles that the reader clicked, over the latest clicks on them, to
what their readers clicked before and after.

There are no counts of pairs. The latest clicks of an article point into the table of sessions; one
gather brings those sessions, and each signal is one weighted `bincount` over the same cells. That
ties with exact pair counts (.6095 against .6095 of hit@10 for the same signals), costs a third of a
millisecond, and is never behind. Rejected: pair counts kept while folding, for which every click
pays, and which forget at one speed only.

    walk = signals.walk(session=[12, 7], earlier=[], context=0, now_s=now_s)
    walk.slots             # what was found, and for each of them:
    walk.sums(Window.M20)  # sum over the session of P(later | clicked) / d
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.recommender.signals.sessions import COLUMN_BITS, DEPTH, ROW_BITS, Sessions

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
_MISMATCHES = KNN_MISMATCH ** np.arange(3)
_COLUMN_MASK = (1 << COLUMN_BITS) - 1
_ROW_MASK = (1 << ROW_BITS) - 1
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
    H12 = 2
    H3 = 8
    H1 = 24
    M20 = 72
    M10 = 144


# Each window is a small power of a longer one.
_ROOTS = {
    Window.H12: (Window.DAY, 2),
    Window.H3: (Window.H12, 4),
    Window.H1: (Window.H3, 3),
    Window.M20: (Window.H1, 3),
    Window.M10: (Window.M20, 2),
}


class _Decays:
    """What clicks weigh now, by window: powers of one decay, which cost a multiplication or three
    where an exponential costs twenty."""

    def __init__(self, of_day: NDArray[np.float64]) -> None:
        self._known = {Window.DAY: of_day}

    def at(self, which: NDArray[np.intp]) -> _Decays:
        """Those of some of the clicks."""
        return _Decays(self._known[Window.DAY][which])

    def of(self, window: Window) -> NDArray[np.float64]:
        """(n,), from 0 to 1."""
        known = self._known.get(window)
        if known is None:
            root, power = _ROOTS[window]
            base = self.of(root)
            known = base * base
            for _ in range(power - 2):
                known = known * base
            self._known[window] = known
        return known


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
        self._sums: dict[Window, NDArray[np.float64]] = {}
        self._counts: dict[Window, NDArray[np.float64]] = {}
        self._length = len(asked.session)
        self._width = self._length + len(asked.earlier)
        walked = np.array([*asked.session, *asked.earlier], np.int32)
        entry = np.concatenate([*entries, _NO_ENTRIES])
        source = np.repeat(np.arange(self._width), [len(some) for some in entries])
        session, column = entry >> COLUMN_BITS & _ROW_MASK, entry & _COLUMN_MASK
        articles = sessions.articles[session]
        own = walked[source]
        # An entry is stale once its session was overwritten, or its click taken back.
        alive = articles[np.arange(len(entry)), column] == own
        alive &= sessions.turns[session] == entry >> (COLUMN_BITS + ROW_BITS)
        if not alive.all():
            source, session, column = source[alive], session[alive], column[alive]
            articles, own = articles[alive], own[alive]
        self._source = source
        self._day = _Decays(_decay(sessions.times[session, column], asked.now_s))
        ends = np.cumsum(np.bincount(source, minlength=self._width))
        self._rank = ends[source] - np.arange(len(source))
        contexts = sessions.contexts[session]
        self._other_referrer = (contexts & 15) != asked.context & 15
        # 0 where the whole context is the same, 1 where half of it is, 2 where none is.
        other_device = (contexts >> 4) != asked.context >> 4
        self._strange = other_device.astype(np.intp) + self._other_referrer

        cells = _where((articles >= 0) & (articles != own[:, None]))
        row, there = cells // DEPTH, cells % DEPTH
        self._row, self._of = row, source[row]
        self._distance = there - column[row]
        lengths = sessions.lengths[session]
        if (lengths > DEPTH).any():
            # Such a session has written over its oldest: its columns are not yet ordinals.
            newest = lengths[row] - 1
            order = (newest - column[row]) % DEPTH - (newest - there) % DEPTH
            self._distance = np.where(newest >= DEPTH, order, self._distance)
        times = sessions.times[session].ravel()[cells]
        self._cell_day = _Decays(_decay(times, asked.now_s))
        self.slots, self._to = _compact(articles.ravel()[cells].astype(np.intp), seats)
        self._seats = seats

    def __len__(self) -> int:
        return len(self.slots)

    def places_of(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where each of these stands in `slots`, (n,) intp; -1 if it was not found."""
        if not len(self.slots):
            return np.full(len(slots), -1, np.intp)
        places = np.minimum(self._seats[slots], len(self.slots) - 1)
        return np.where((slots >= 0) & (self.slots[places] == slots), places, -1)

    def at(
        self, slots: NDArray[np.intp], signals: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """These signals at these slots, (n, len(signals)); 0 where nothing was found."""
        rows = np.zeros((len(signals), len(slots)))
        if len(self.slots):
            places = self.places_of(slots)
            for row, signal in zip(rows, signals, strict=True):
                row[:] = signal[places]
            rows[:, places < 0] = 0.0
        return rows.T

    def sums(self, window: Window) -> NDArray[np.float64]:
        """Sum over the session of P(later | clicked) / d, d = 1 for the last click.

        P = sum of the decayed later clicks / (that of the article's walked clicks + `PRIOR`).
        """
        # PERF: the cut and the features ask for the same ones.
        known = self._sums.get(window)
        if known is None:
            weights = self._ahead_day.of(window) * self._shares(window)[self._of[self._ahead]]
            known = self._sums[window] = self._count(self._ahead, weights)
        return known

    @cached_property
    def earlier(self) -> NDArray[np.float64]:
        """The same over the reader's earlier sessions, all alike, 3 h."""
        cells = _where((self._distance > 0) & (self._of >= self._length))
        shares = 1.0 / (self._walked(Window.H3) + PRIOR)
        return self._count(cells, self._cell_day.of(Window.H3)[cells] * shares[self._of[cells]])

    def adjacent(self) -> NDArray[np.float64]:
        """What came straight after the last click, half-life 10 minutes."""
        walked = float(self._day.of(Window.M10)[self._source == 0].sum())
        return self._count(self._next, self._next_day.of(Window.M10) / (walked + PRIOR))

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
        alike = self._day.of(Window.M20) * _MISMATCHES[self._strange] / (self._source + 1.0)
        cells = _where(near[self._row])
        weights = alike[self._row[cells]] * _NEAR[self._distance[cells] + DEPTH]
        return self._count(cells, weights)

    def together(self) -> NDArray[np.float64]:
        """Sum over the session of the decayed sessions that hold both, 3 h, in either order, / d;
        to be divided by the root of the other's count."""
        cells = _where(self._of < self._length)
        roots = np.sqrt(self._walked(Window.H3) + 1.0) * (np.arange(self._width) + 1.0)
        return self._count(cells, self._cell_day.of(Window.H3)[cells] / roots[self._of[cells]])

    def because(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each place in `slots` which walked article led there most; (n,) indices into the
        session, then the earlier ones."""
        among = np.full(len(self), -1, np.intp)
        among[places] = np.arange(len(places))
        cells = _where((self._distance > 0) & (among[self._to] >= 0))
        of = self._of[cells]
        weights = self._cell_day.of(Window.H3)[cells] * self._shares(Window.H3)[of]
        size = len(places) * self._width
        table = np.bincount(among[self._to[cells]] * self._width + of, weights, minlength=size)
        return np.asarray(table.reshape(len(places), -1).argmax(axis=1), np.intp)

    @cached_property
    def _ahead(self) -> NDArray[np.intp]:
        return _where((self._distance > 0) & (self._of < self._length))

    @cached_property
    def _ahead_day(self) -> _Decays:
        return self._cell_day.at(self._ahead)

    @cached_property
    def _next(self) -> NDArray[np.intp]:
        if not self._length:
            return np.empty(0, np.intp)
        return _where((self._distance == 1) & (self._of == 0))

    @cached_property
    def _next_day(self) -> _Decays:
        return self._cell_day.at(self._next)

    def _walked(self, window: Window) -> NDArray[np.float64]:
        known = self._counts.get(window)
        if known is None:
            counts = np.bincount(self._source, self._day.of(window), minlength=self._width)
            known = self._counts[window] = np.asarray(counts, np.float64)
        return known

    def _shares(self, window: Window) -> NDArray[np.float64]:
        return 1.0 / ((np.arange(self._width) + 1.0) * (self._walked(window) + PRIOR))

    def _next_among(self, alike: NDArray[np.bool_]) -> NDArray[np.float64]:
        weights = self._next_day.of(Window.H1)[alike]
        return self._count(self._next[alike], weights / (weights.sum() + PRIOR))

    def _count(self, cells: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = np.bincount(self._to[cells], weights, minlength=len(self.slots))
        return np.asarray(counts, np.float64)


def _where(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """`np.flatnonzero` of what is flat already, in half of its time, or of rows."""
    return mask.ravel().nonzero()[0]


def _decay(times: NDArray[np.uint32], now_s: float) -> NDArray[np.float64]:
    """What a click of each moment weighs now, half-life 24 h."""
    # A clock that was set back must not make the past weigh more than now.
    ages = np.maximum(now_s - times, 0.0).astype(np.float32)
    weights = np.exp2(ages * np.float32(-1.0 / FORGOTTEN_S))
    return np.asarray(weights, np.float64)


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
