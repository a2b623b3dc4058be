"""Whether a new model may serve: only where what was held out says that it is not worse.

A mean alone does not say so: over 244 lists two rankers differ by some hundredths of ndcg@10 for no
reason at all, so that half of the worse ones would serve. Both models answer the same questions,
and the interval of their difference is by the bootstrap of `tidings evaluate`. Rejected: asking for
an interval above 0, which a model as good as the one of the night before never has.

    why_not({"new": judged, "blend": other})  # "" where the new one may serve, else the reason
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.measures import figure, resample

NEW = "new"
# Of fewer questions the bootstrap itself is not to be believed.
LEAST_JUDGED = 200
# A quarter of what the trees gain over the hand blend on 10,000 lists; equal rankers that differ in
# every tenth list stay within it from about 1,000 lists on.
TOLERANCE = 0.005
SEED = 1


class Judged(NamedTuple):
    """How a model answered.

    Attributes:
        figures: means by name.
        worth: ndcg@10 of each question, (questions,) float32.
    """

    figures: Mapping[str, float]
    worth: NDArray[np.float32]


def why_not(judged: Mapping[str, Judged]) -> str:
    """Why the new model may not serve, beside the others that answered the same; empty if it may.

    It may where at least `LEAST_JUDGED` questions were asked, and its ndcg@10 less that of each
    other one is above -`TOLERANCE` at the lower end of the 95 % interval.
    """
    worth = judged[NEW].worth
    if len(worth) < LEAST_JUDGED:
        return (
            f"{len(worth)} held-out questions judge it, and {LEAST_JUDGED} are needed to say that "
            "it is not worse"
        )
    weights = resample(len(worth), SEED)
    for name, other in judged.items():
        if name == NEW:
            continue
        margin = figure(worth - other.worth, weights)
        if margin.low <= -TOLERANCE:
            return (
                f"{len(worth)} held-out questions do not say that it is not worse than {name}: its "
                f"ndcg@10 is {margin.value:+.4f} beside it ({margin.low:+.4f} to "
                f"{margin.high:+.4f} with 95 %), and the lower end must be above -{TOLERANCE}"
            )
    return ""
