"""The cut: which of the candidates are worth all features, by a blend of those that cost little.

Of a thousand candidates a hundred are ranked; two hundred were no better. The blend holds .88 of
the next clicks among its first hundred. A source may reserve places for what the shared signals
cannot know yet. Rejected: ranking all of them, at ten times the cost.

    candidates = cut(candidates, walked, signals, most=RANKED, reserved={1: 10})
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Candidates
from services.recommender.signals.counters import Kind
from services.recommender.signals.folding import Signals
from services.recommender.walks import Walked

RANKED = 100
HOT_WEIGHT = 0.3
SHARE_WEIGHT = 0.9


def cut(
    candidates: Candidates,
    walked: Walked,
    signals: Signals,
    *,
    most: int,
    reserved: Mapping[int, int],
) -> Candidates:
    """The `most` best by the blend, and each source's reserve of its strongest besides.

    Args:
        reserved: how many, by the number of the source.
    """
    if len(candidates) <= most:
        return candidates
    slots = signals.slots_of(candidates.ids)
    value = cheap_blend(slots, walked, signals)
    keep = np.zeros(len(candidates), np.bool_)
    keep[np.argpartition(-value, most)[:most]] = True
    left = (~keep).nonzero()[0]
    brought_by = candidates.sources[left]
    for number, places in reserved.items():
        own = left[brought_by == number]
        if len(own) > places:
            own = own[np.argpartition(-candidates.strengths[own], places)[:places]]
        keep[own] = True
    return candidates.take(keep)


def cheap_blend(slots: NDArray[np.intp], walked: Walked, signals: Signals) -> NDArray[np.float64]:
    """The blend of each slot, (n,); 0 for an article that is not active."""
    counters = signals.counters
    hot = counters.of(Kind.ALL_5M)[slots]
    counted = hot * (HOT_WEIGHT / max(float(hot.max(initial=0.0)), 1e-9))
    counted += counters.of(Kind.ALL_1H)[slots] * (SHARE_WEIGHT / counters.total(Kind.ALL_1H))
    return np.where(slots >= 0, counted, 0.0) + walked.walk.at(slots, [walked.blend])[:, 0]
