"""What orders candidates, and which reader gets which order.

A ranker sees features and nothing else, so one that was trained on a log ranks a request as it
ranked the log. Which of two rankers a reader gets follows from the reader's id alone: every worker
gives the same answer, and a reader does not change sides between two pages. Rejected: drawing lots
for each request, which mixes both rankers into the history that both are judged by.

    ranking = Ranking([(0, Blend(), 100)])
    variant, ranker = ranking.of(reader_id=7)
    ranker.score(candidates.features)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PERCENT = 100


class Ranker(Protocol):
    """Gives each candidate a score; the highest is the best. What it says of a NaN is not NaN."""

    @property
    def name(self) -> str: ...

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of (n, len(FEATURES)) features the (n,) scores."""


class Ranking:
    """The rankers in use.

    Args:
        shares: variant (what tokens say, 0 to 255), ranker, and the percentage of readers that get
            it; together 100.
    """

    def __init__(self, shares: Sequence[tuple[int, Ranker, int]]) -> None:
        if sum(percent for _, _, percent in shares) != PERCENT:
            raise ValueError("the shares of the rankers must be 100 together")
        self._shares = tuple(shares)

    def of(self, reader_id: int) -> tuple[int, Ranker]:
        """The variant of this reader, and its ranker."""
        bucket = reader_bucket(reader_id)
        for variant, ranker, percent in self._shares:
            bucket -= percent
            if bucket < 0:
                return variant, ranker
        raise AssertionError("the shares of the rankers are 100 together")


def reader_bucket(reader_id: int) -> int:
    """A number from 0 to 99 that is always the same for a reader."""
    digest = hashlib.blake2s(reader_id.to_bytes(8, "big", signed=True), digest_size=4).digest()
    return int.from_bytes(digest, "big") % PERCENT
