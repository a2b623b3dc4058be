"""What ranks are worth: hit, mrr and ndcg at ten, with intervals.

Every question has one right answer, the article that the reader went on to, so recall at ten is the
hit, and the ideal DCG is 1. Intervals are percentiles of 1,000 bootstrap resamples over questions
(Efron 1979), and the same resamples judge a margin between two contenders: both answer the same
questions, so the spread of their difference is smaller than either's.

    measure(ranks, resample(len(ranks), seed=1))["hit@10"].value
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AT = 10
# How far down a ranking is looked at: so many candidates are ranked again.
DEPTH = 100
RESAMPLES = 1000
MISSED = 0
_CONFIDENCE = (2.5, 97.5)
_CHUNK = 100

Ranks = NDArray[np.int32]
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over questions, and the interval that holds it with 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ±{(self.high - self.low) / 2:.3f}"


def resample(number: int, seed: int) -> Weights:
    """(RESAMPLES, number) float32: how often each question is drawn, as shares of a resample."""
    random = np.random.default_rng(seed)
    weights = np.empty((RESAMPLES, number), np.float32)
    for row in weights:
        row[:] = np.bincount(random.integers(0, number, number), minlength=number)
    return weights / np.float32(number)


def measure(ranks: Ranks, weights: Weights) -> Mapping[str, Figure]:
    """The figures of a contender.

    Args:
        ranks: the place of the right answer from 1, `MISSED` where it is not among `DEPTH`; int32.
        weights: of `resample`.
    """
    return {name: figure(values, weights) for name, values in worth(ranks).items()}


def margins(ranks: Ranks, others: Ranks, weights: Weights) -> Mapping[str, Figure]:
    """By how much a contender is better than another on the same questions."""
    ours, theirs = worth(ranks), worth(others)
    return {name: figure(ours[name] - theirs[name], weights) for name in ours}


def worth(ranks: Ranks) -> Mapping[str, NDArray[np.float32]]:
    """What each question's rank is worth, float32 from 0 to 1, by measure."""
    is_hit = (ranks != MISSED) & (ranks <= AT)
    place = np.where(is_hit, ranks, 1)
    return {
        f"hit@{AT}": is_hit.astype(np.float32),
        f"mrr@{AT}": (is_hit / place).astype(np.float32),
        f"ndcg@{AT}": (is_hit / np.log2(place + 1)).astype(np.float32),
        f"recall@{DEPTH}": (ranks != MISSED).astype(np.float32),
    }


def figure(values: NDArray[np.float32], weights: Weights) -> Figure:
    """The mean of what n questions are worth, and its interval."""
    low, high = np.percentile(weights @ values, _CONFIDENCE)
    return Figure(float(values.mean(dtype=np.float64)), float(low), float(high))
