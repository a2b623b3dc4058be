"""Which articles go with which, learned at night: the arrays of the source `collaborative`.

Rows are named by the ids of articles and not by their place in a catalogue, so that a model made
of yesterday's catalogue, or of another site's, proposes what is still there and nothing else.
Rejected: factors of readers; a reader who came after the training would have none.

    neighbours = Neighbours(ids, near, strength)
    neighbours.of(np.array([12, 7]), reading_weights(2), most=200).ids
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_NEAR = 500
# Chosen on the last but one reading of `ml-latest-small`: ndcg@10 is .055 with a half-life of ten
# readings, .053 with 20, .046 with 50 and .043 where all count alike.
HALF_LIFE = 10


class BadNeighboursError(ValueError):
    """The arrays name no neighbours that can be served; the message says why."""


class Near(NamedTuple):
    """What goes with the articles asked for, strongest first.

    Attributes:
        ids: (n,) int64.
        strengths: (n,) float32, above zero.
        because: (n,) int64, the article asked for that added most to each.
    """

    ids: NDArray[np.int64]
    strengths: NDArray[np.float32]
    because: NDArray[np.int64]


class Neighbours:
    """Each article's nearest others.

    Args:
        ids: (articles,) int64, ascending.
        near: (articles, k) int32, places in `ids`; -1 where there are fewer than k.
        strength: (articles, k) float32; may be below zero: a reader of the one avoids the other.

    Raises:
        BadNeighboursError: the arrays do not fit each other.
    """

    def __init__(
        self, ids: NDArray[np.int64], near: NDArray[np.int32], strength: NDArray[np.float32]
    ) -> None:
        _check(ids, near, strength)
        self._ids = ids
        self._near = near
        self._strength = np.where(near < 0, np.float32(0), strength)

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, read: NDArray[np.int64], weights: NDArray[np.float32], most: int) -> Near:
        """The articles that go with those that were read; unknown ones are passed over.

        Args:
            read: (n,) int64, each once.
            weights: (n,) how much each counts.
            most: how many to answer at most.
        """
        if not len(self._ids):
            return _NOTHING
        places = np.minimum(np.searchsorted(self._ids, read), len(self._ids) - 1)
        known = self._ids[places] == read
        places, weights, read = places[known], weights[known], read[known]
        near = self._near[places].ravel()
        added = (self._strength[places] * weights[:, None]).ravel()
        because = np.repeat(read, self._near.shape[1])
        kept = (near >= 0) & (added != 0)
        near, added, because = near[kept], added[kept], because[kept]
        found, which = np.unique(near, return_inverse=True)
        sums = np.bincount(which, weights=added, minlength=len(found)).astype(np.float32)
        best = np.argsort(-sums, kind="stable")[:most]
        best = best[sums[best] > 0]
        # The last write wins, and what added most is written last.
        leading = np.empty(len(found), dtype=np.int64)
        order = np.argsort(added, kind="stable")
        leading[which[order]] = because[order]
        return Near(self._ids[found[best]], sums[best], leading[best])


def reading_weights(number: int) -> NDArray[np.float32]:
    """How much each of a reader's readings counts, the newest first: (number,) float32."""
    weights: NDArray[np.float32] = np.exp2(-np.arange(number, dtype=np.float32) / HALF_LIFE)
    return weights


_NOTHING = Near(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))


def _check(ids: NDArray[np.int64], near: NDArray[np.int32], strength: NDArray[np.float32]) -> None:
    expected = ((ids, np.int64, 1), (near, np.int32, 2), (strength, np.float32, 2))
    if any(array.dtype != dtype or array.ndim != ndim for array, dtype, ndim in expected):
        raise BadNeighboursError("ids, near and strength are not of the kinds they should be")
    if near.shape != strength.shape or len(near) != len(ids):
        raise BadNeighboursError("ids, near and strength differ in length")
    if near.shape[1] > MOST_NEAR:
        raise BadNeighboursError(f"more than {MOST_NEAR} neighbours an article")
    if len(ids) > 1 and (np.diff(ids) <= 0).any():
        raise BadNeighboursError("the ids are not ascending")
    if near.size and (near.min() < -1 or near.max() >= len(ids)):
        raise BadNeighboursError("a neighbour is beyond the articles there are")
    if not np.isfinite(strength).all():
        raise BadNeighboursError("a strength is no number")
