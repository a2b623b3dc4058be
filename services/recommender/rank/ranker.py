"""What orders candidates, and which reader gets which order.

A ranker sees features and nothing else, so one that was trained on a log ranks a request as it
ranked the log. Which of several a reader gets, `models.variants` says. Rejected: rankers that ask
Redis or the clock, whose answers no replay could repeat.

    variant, ranker = ranking.of(reader_id=7)
    ranker.score(candidates.features)
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Ranker(Protocol):
    """Gives each candidate a score; the highest is the best. What it says of a NaN is not NaN."""

    @property
    def name(self) -> str: ...

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of (n, len(FEATURES)) features the (n,) scores."""


class Picked(NamedTuple):
    """The ranker of one reader, and the number that tokens and records give this choice."""

    variant: int
    ranker: Ranker


class Ranking(Protocol):
    """Which ranker each reader is served by."""

    def of(self, reader_id: int) -> Picked: ...
