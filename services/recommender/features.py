"""What a ranker knows of a candidate, in columns.

Sixteen numbers come from the clicks of all readers, three from this reader's taste. They are the
same while serving, in `tidings evaluate` and in training, since all three call this. Rejected: a
second set of features computed by the training's SQL; the two differ on the first day, and nobody
sees it. Rejected too: the time since the last click, which in logs stamps the moment a page was
left.

    features = make_features(candidates, walk, signals, question=question, view=view, taste=taste)
    features[:, FEATURES.index("neighbours")]
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Candidates
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.signals.counters import Kind, context_column
from services.recommender.signals.folding import Signals
from services.recommender.signals.walk import Walk, Window

SIGNAL_FEATURES = (
    "sum_20m",
    "sum_1h",
    "sum_24h",
    "together",
    "adjacent",
    "next_of_50",
    "next_of_300",
    "next_of_referrer",
    "next_of_context",
    "neighbours",
    "in_context",
    "later_5m",
    "all_1h",
    "velocity",
    "age_h",
    "earlier",
)
TASTE_FEATURES = ("channel", "author", "text")
FEATURES = SIGNAL_FEATURES + TASTE_FEATURES
_MS_PER_H = 3_600_000
# Where an article is clicked by one of a million, five minutes against twenty say nothing.
_VELOCITY_FLOOR = 1e-6


class TasteColumns(Protocol):
    """What gives candidates the columns of `TASTE_FEATURES`."""

    def __call__(
        self, candidates: Candidates, question: Question, view: View
    ) -> NDArray[np.float32]: ...


def make_features(
    candidates: Candidates,
    walk: Walk,
    signals: Signals,
    *,
    question: Question,
    view: View,
    taste: TasteColumns,
) -> NDArray[np.float32]:
    """(n, len(FEATURES)), every number finite."""
    slots = signals.slots_of(candidates.ids)
    counters = signals.counters
    shares = counters.shares(slots)
    walked = walk.at(
        slots,
        [
            walk.sums(Window.M20),
            walk.sums(Window.H1),
            walk.sums(Window.DAY),
            walk.together(),
            walk.adjacent(),
            walk.next_share(50),
            walk.next_share(300),
            walk.next_share_of_referrer(),
            walk.next_share_of_context(),
            walk.neighbours(),
            walk.earlier,
        ],
    )
    clicks_3h = (
        shares[Kind.ALL_3H]
        * counters.total(Kind.ALL_3H)
        * counters.scale(Kind.ALL_3H, question.now_ms / 1000)
    )
    column = context_column(question.context.code)
    in_context = counters.share_in_context(np.maximum(slots, 0), column) * (slots >= 0)
    out = np.empty((len(candidates), len(FEATURES)), np.float32)
    out[:, :10] = walked[:, :10]
    out[:, 3] = walked[:, 3] / np.sqrt(clicks_3h + 1.0)
    out[:, 10] = in_context
    out[:, 11] = shares[Kind.LATER_5M]
    out[:, 12] = shares[Kind.ALL_1H]
    floored = shares[: Kind.ALL_20M + 1] + _VELOCITY_FLOOR
    out[:, 13] = floored[Kind.ALL_5M] / floored[Kind.ALL_20M]
    out[:, 14] = np.maximum(question.now_ms - view.published[candidates.rows], 0) / _MS_PER_H
    out[:, 15] = walked[:, 10]
    out[:, len(SIGNAL_FEATURES) :] = taste(candidates, question, view)
    # A feature that cannot be is as good as unknown; a NaN would make an order of chance.
    out[~np.isfinite(out)] = 0.0
    return out
