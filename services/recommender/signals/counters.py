"""Clicks of each active article, counted with forgetting: one number an article and half-life.

A click weighs 2^((its moment - a reference) / half-life), so counting is an addition, clicks may
come in any order, and nothing has to be touched as time goes by; shares and orders do not depend on
the reference, which moves on every six hours. Rejected: windows, which need every click twice, once
to add and once to take away, and whose edges move articles about.

    counters = Counters()
    counters.add([0], [now_s], is_later=[True], contexts=[0], signs=[1.0])
    counters.of(Kind.ALL_5M)[0] / counters.total(Kind.ALL_5M)  # its share of all clicks
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

# Five minutes hold .50 of the next clicks, one hour .45, twelve hours .29; slower ones serve sites
# with few clicks, and as the divisor of the cosine.
HALF_LIVES_S = (300.0, 1200.0, 3600.0, 10_800.0, 300.0, 1200.0)
CONTEXT_HALF_LIFE_S = 1200.0
# The reference moves in steps of this: 72 of the shortest half-lives, so 2^72 at most.
STEP_S = 6 * 3600
DEVICES = 5
REFERRERS = 6
CONTEXTS = DEVICES * REFERRERS
_LEAST_TOTAL = 1e-9


class Kind(IntEnum):
    """What is counted; the value is the row. `LATER` counts only what was not the first click of
    its session: what a reader chose from a page, rather than what a link from elsewhere opened."""

    ALL_5M = 0
    ALL_20M = 1
    ALL_1H = 2
    ALL_3H = 3
    LATER_5M = 4
    LATER_20M = 5


_LATER = np.array([kind.name.startswith("LATER") for kind in Kind])


def context_column(context: int) -> int:
    """Of a context's byte (device in the high half, referrer in the low one) its column; what a
    newer release knows counts as unknown."""
    device, referrer = context >> 4, context & 15
    return (device if device < DEVICES else 0) * REFERRERS + (
        referrer if referrer < REFERRERS else 0
    )


class Counters:
    """Counts by slot; the slots belong to the caller."""

    def __init__(self) -> None:
        self._half_lives = np.array(HALF_LIVES_S)[:, None]
        self._counts: NDArray[np.float64] = np.zeros((len(Kind), 1024))
        self._by_context: NDArray[np.float32] = np.zeros((1024, CONTEXTS), np.float32)
        self._totals = np.zeros(len(Kind))
        self._context_totals = np.zeros(CONTEXTS)
        self._reference_s = 0.0

    def grow(self, capacity: int) -> None:
        """Make room for so many slots."""
        more = capacity - self._counts.shape[1]
        if more > 0:
            self._counts = np.pad(self._counts, ((0, 0), (0, more)))
            self._by_context = np.pad(self._by_context, ((0, more), (0, 0)))

    def add(
        self,
        slots: Sequence[int],
        times_s: Sequence[float],
        *,
        is_later: Sequence[bool],
        contexts: Sequence[int],
        signs: Sequence[float],
    ) -> None:
        """Count clicks; a sign of -1 takes one back.

        Args:
            times_s: when each was made, in seconds since the epoch.
            contexts: columns, see `context_column`.
        """
        times = np.array(times_s)
        self._move_reference(float(times.max()))
        ages = times - self._reference_s
        signed = np.array(signs)
        weights = np.exp2(ages / self._half_lives) * signed
        weights[np.ix_(_LATER, ~np.array(is_later))] = 0.0
        at = np.array(slots)
        for row, weight in zip(self._counts, weights, strict=True):
            np.add.at(row, at, weight)
        self._totals += weights.sum(axis=1)
        by_context = np.exp2(ages / CONTEXT_HALF_LIFE_S) * signed
        np.add.at(self._by_context, (at, np.array(contexts)), by_context.astype(np.float32))
        np.add.at(self._context_totals, np.array(contexts), by_context)

    def forget(self, slots: NDArray[np.intp]) -> None:
        """Set these slots to nothing; what they counted leaves the totals too."""
        self._totals -= self._counts[:, slots].sum(axis=1)
        self._context_totals -= self._by_context[slots].sum(axis=0)
        self._counts[:, slots] = 0.0
        self._by_context[slots] = 0.0

    def of(self, kind: Kind) -> NDArray[np.float64]:
        """The counts of every slot, each up to the same factor; (capacity,), clicks."""
        counts: NDArray[np.float64] = self._counts[kind]
        return counts

    def shares(self, slots: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of all clicks each slot's share, never below 0; (len(Kind), n), 0 for a slot of -1."""
        counts = np.maximum(self._counts[:, slots], 0.0)
        counts[:, slots < 0] = 0.0
        return counts / np.maximum(self._totals, _LEAST_TOTAL)[:, None]

    def total(self, kind: Kind) -> float:
        """Their sum, above 0."""
        return max(float(self._totals[kind]), _LEAST_TOTAL)

    def scale(self, kind: Kind, now_s: float) -> float:
        """What makes a count the number of clicks as they weigh at `now_s`."""
        # A clock that was set back is far behind the reference, until the signals begin anew.
        return float(np.exp2(min((self._reference_s - now_s) / HALF_LIVES_S[kind], 64.0)))

    def share_in_context(self, slots: NDArray[np.intp], column: int) -> NDArray[np.float64]:
        """Of the clicks from this referrer on this device each slot's share; (n,)."""
        total = max(float(self._context_totals[column]), _LEAST_TOTAL)
        return np.asarray(self._by_context[slots, column] / total, np.float64)

    def _move_reference(self, newest_s: float) -> None:
        steps = (newest_s - self._reference_s) // STEP_S
        if steps < 1:
            return
        moved = steps * STEP_S
        self._reference_s += moved
        factors = np.exp2(-moved / self._half_lives)
        self._counts *= factors
        self._totals *= factors[:, 0]
        factor = np.exp2(-moved / CONTEXT_HALF_LIFE_S)
        self._by_context *= np.float32(factor)
        self._context_totals *= factor
