"""A learned ranker as it serves: its trees, on the scale of the hand blend, and the taste that it
did not learn.

Trees trained to order a list answer numbers of any size, while mixing takes .06 off for a channel
that was there already; so each list's scores are spread from 0 to 1, as the blend's are. A log that
knows no channels, authors or texts teaches nothing about taste: a ranker from it gets the same
terms added that the blend has. Rejected: serving it bare, so that a small site which trains loses
what tells its readers apart.

    ranker = Learned(trees, columns=[0, 1, 2], taste={16: 0.5})
    ranker.score(features)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.recommender.models.trees import Trees


class Learned:
    """A ranker for candidates.

    Args:
        trees: over the columns that it was trained on.
        columns: where these columns stand among the features of a candidate.
        taste: column → weight of what is added.
    """

    def __init__(self, trees: Trees, columns: Sequence[int], taste: Mapping[int, float]) -> None:
        self.name = trees.name
        self._trees = trees
        self._columns = np.array(columns, dtype=np.intp)
        self._taste = np.array(list(taste), dtype=np.intp)
        self._weights = np.array(list(taste.values()), dtype=np.float32)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) float32 for (n, features): from 0 to 1, and the taste besides."""
        if not len(features):
            return np.empty(0, dtype=np.float32)
        scores = self._trees.score(features.take(self._columns, axis=1))
        low, high = scores.min(), scores.max()
        scores = np.asarray((scores - low) / max(high - low, 1e-12), np.float32)
        if len(self._taste):
            scores += features.take(self._taste, axis=1) @ self._weights
        return scores
