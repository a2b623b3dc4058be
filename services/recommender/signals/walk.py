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
    """Half-lives of a walk; the value is the row among the decays."""

    M20 = 0
    H1 = 1
    H3 = 2
    DAY = 3
    M10 = 4


# Those by which what comes later is summed up.
_SUMMED = slice(Window.M10)


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
        length = len(asked.session)
        walked = np.array([*asked.session, *asked.earlier], np.int32)
        entry = np.concatenate([*entries, _NO_ENTRIES])
        source = np.repeat(np.arange(len(walked)), [len(some) for some in entries])
        session, column = entry >> COLUMN_BITS & _ROW_MASK, entry & _COLUMN_MASK
        own = walked[source]
        # Where each click stands in the tables, were they flat.
        place = session * DEPTH + column
        # An entry is stale once its session was overwritten, or its click taken back.
        alive = sessions.articles.ravel()[place] == own
        alive &= sessions.turns[session] == entry >> (COLUMN_BITS + ROW_BITS)
        if not alive.all():
            source, session, column = source[alive], session[alive], column[alive]
            own, place = own[alive], place[alive]
        self._source = source
        all_times = sessions.times.ravel()
        self._decays = _decays(_of_day(all_times[place], asked.now_s))
        # Without clicks there is one source all the same, which found nothing.
        sizes = np.bincount(source, minlength=max(len(walked), 1))
        self._ends = sizes.cumsum()
        found = sizes.nonzero()[0]
        # By window, of each source: what its clicks weigh together.
        self._walked = np.zeros((len(Window), len(sizes)))
        starts = (self._ends - sizes)[found]
        self._walked[:, found] = np.add.reduceat(self._decays, starts, axis=1)
        self._places = np.arange(len(sizes)) + 1.0
        contexts = sessions.contexts[session]
        self._other_referrer = (contexts & 15) != asked.context & 15
        # 0 where the whole context is the same, 1 where half of it is, 2 where none is.
        other_device = (contexts >> 4) != asked.context >> 4
        self._strange = other_device.astype(np.intp) + self._other_referrer

        articles = sessions.articles[session]
        cells = _where((articles >= 0) & (articles != own[:, None]))
        row = cells // DEPTH
        there = cells - row * DEPTH
        # In the order of the sources, so that those of the first ones are a slice.
        self._row, self._of = row, source[row]
        self._distance = there - column[row]
        lengths = sessions.lengths[session]
        if lengths.max(initial=0) > DEPTH:
            # Such a session has written over its oldest: its columns are not yet ordinals.
            newest = lengths[row] - 1
            order = (newest - column[row]) % DEPTH - (newest - there) % DEPTH
            self._distance = np.where(newest >= DEPTH, order, self._distance)
        self._cell_day = _of_day(all_times[(place - column)[row] + there], asked.now_s)
        self.slots, self._to = _compact(articles.ravel()[cells].astype(np.intp), seats)
        self._seats = seats
        # The cells of the last click, of those that sessions are likened by, and of the session.
        self._last, self._liked, self._own = self._of.searchsorted(
            (min(length, 1), min(length, KNN_ARTICLES), length)
        ).tolist()
        ahead = _where(self._distance > 0)
        self._ahead_to, self._ahead_of = self._to[ahead], self._of[ahead]
        self._ahead_day = self._cell_day[ahead]
        self._own_ahead = int(self._ahead_of.searchsorted(length))

    def __len__(self) -> int:
        return len(self.slots)

    def places_of(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where each of these stands in `slots`, (n,) intp; -1 if it was not found."""
        if not len(self.slots):
            return np.full(len(slots), -1, np.intp)
        places = np.minimum(self._seats[slots], len(self.slots) - 1)
        return np.where(self.slots[places] == slots, places, -1)

    def at(
        self, slots: NDArray[np.intp], signals: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """These signals at these slots, (n, len(signals)); 0 where nothing was found."""
        if not len(self.slots):
            return np.zeros((len(slots), len(signals)))
        places = self.places_of(slots)
        rows = np.array([signal.take(places) for signal in signals])
        rows[:, places < 0] = 0.0
        return rows.T

    def sums(self, window: Window) -> NDArray[np.float64]:
        """Sum over the session of P(later | clicked) / d, d = 1 for the last click; not for M10.

        P = sum of the decayed later clicks / (that of the article's walked clicks + `PRIOR`).
        """
        row: NDArray[np.float64] = self.all_sums[window]
        return row

    @cached_property
    def all_sums(self) -> NDArray[np.float64]:
        """`sums` by window, (4, n)."""
        own = slice(self._own_ahead)
        return np.array([self._count(self._ahead_to[own], one[own]) for one in self._leading])

    @cached_property
    def earlier(self) -> NDArray[np.float64]:
        """The same over the reader's earlier sessions, all alike, 3 h."""
        others = slice(self._own_ahead, None)
        weights = self._leading[Window.H3, others] * self._places[self._ahead_of[others]]
        return self._count(self._ahead_to[others], weights)

    def adjacent(self) -> NDArray[np.float64]:
        """What came straight after the last click, half-life 10 minutes."""
        walked = float(self._walked[Window.M10, 0])
        return self._count(self._next_to, self._next_decays[Window.M10] / (walked + PRIOR))

    def next_share(self, transitions: int) -> NDArray[np.float64]:
        """Of the last so many clicks that followed the last click's article, each one's share."""
        latest = self._next_to[-transitions:]
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
        alike = self._decays[Window.M20] * _MISMATCHES[self._strange] / self._places[self._source]
        rank = self._ends[self._source] - np.arange(len(self._source))
        alike *= rank <= KNN_CLICKS
        cells = slice(self._liked)
        weights = alike[self._row[cells]] * _NEAR[self._distance[cells] + DEPTH]
        return self._count(self._to[cells], weights)

    def together(self) -> NDArray[np.float64]:
        """Sum over the session of the decayed sessions that hold both, 3 h, in either order, / d;
        to be divided by the root of the other's count."""
        own = slice(self._own)
        roots = np.sqrt(self._walked[Window.H3] + 1.0) * self._places
        return self._count(self._to[own], _of_3h(self._cell_day[own]) / roots[self._of[own]])

    def because(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each place in `slots` which walked article led there most; (n,) indices into the
        session, then the earlier ones."""
        among = np.full(len(self), -1, np.intp)
        among[places] = np.arange(len(places))
        to = among[self._ahead_to]
        cells = _where(to >= 0)
        width = len(self._places)
        table = np.bincount(
            to[cells] * width + self._ahead_of[cells],
            self._leading[Window.H3, cells],
            minlength=len(places) * width,
        )
        return np.asarray(table.reshape(len(places), -1).argmax(axis=1), np.intp)

    @cached_property
    def _leading(self) -> NDArray[np.float64]:
        """By window, what each later click adds to P / d of its article."""
        shares = 1.0 / (self._places * (self._walked[_SUMMED] + PRIOR))
        leading: NDArray[np.float64] = shares.take(self._ahead_of, axis=1)
        leading *= _decays(self._ahead_day)[_SUMMED]
        return leading

    @cached_property
    def _next(self) -> NDArray[np.intp]:
        return _where(self._distance[: self._last] == 1)

    @cached_property
    def _next_to(self) -> NDArray[np.intp]:
        return self._to[self._next]

    @cached_property
    def _next_decays(self) -> NDArray[np.float64]:
        return _decays(self._cell_day[self._next])

    def _next_among(self, alike: NDArray[np.bool_]) -> NDArray[np.float64]:
        weights = self._next_decays[Window.H1] * alike
        return self._count(self._next_to, weights / (weights.sum() + PRIOR))

    def _count(self, to: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(to, weights, len(self.slots)), np.float64)


def _where(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """`np.flatnonzero` of what is flat already, in half of its time, or of rows."""
    return mask.ravel().nonzero()[0]


def _of_day(times: NDArray[np.uint32], now_s: float) -> NDArray[np.float64]:
    """What a click of each moment weighs now, half-life 24 h."""
    # A clock that was set back must not make the past weigh more than now.
    ages = np.maximum(now_s - times, 0.0).astype(np.float32)
    # PERF: of single numbers numpy makes eight exponentials at once, and one power of two.
    weights = np.exp(ages * np.float32(-np.log(2) / FORGOTTEN_S))
    return np.asarray(weights, np.float64)


def _of_3h(of_day: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eighth power."""
    of_12h = of_day * of_day
    of_6h = of_12h * of_12h
    return of_6h * of_6h


def _decays(of_day: NDArray[np.float64]) -> NDArray[np.float64]:
    """What clicks weigh by window, (5, n): powers of one decay, which cost a multiplication or
    three where an exponential costs more."""
    of_3h = _of_3h(of_day)
    of_1h = of_3h * of_3h * of_3h
    of_20m = of_1h * of_1h * of_1h
    return np.array([of_20m, of_1h, of_3h, of_day, of_20m * of_20m])


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
