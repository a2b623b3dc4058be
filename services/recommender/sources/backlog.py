"""backlog: the channel's older articles, newest first, asked only when all else is exhausted.

Walks the channel past what was seen until a batch is full, and no further: a reader who has read
the front page pages on into last week, and the catalogue is never looked through as a whole.
Rejected: proposing some of it for every feed, where it only costs.

    recall_backlog(question, view, taken=ids_chosen_already, number=4)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Proposed, Source
from services.recommender.catalogue import View
from services.recommender.filter import Verdict, judge
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in

BACKLOG = Source(number=8, name="backlog")
FIRST_LOOK = 1024


def recall_backlog(
    question: Question, view: View, *, taken: NDArray[np.int64], number: int
) -> Proposed:
    """The newest `number` articles of the channel that fit.

    Args:
        taken: ids that are in the batch already, ascending.
    """
    left = view.newest(question.channel_id, question.now_ms)
    found = left[:0]
    size = FIRST_LOOK
    while len(left) and len(found) < number:
        some, left = left[:size], left[size:]
        fit = (judge(some, question, view) == Verdict.FIT) & ~is_in(taken, view.ids[some])
        found = np.concatenate([found, some[fit]])[:number]
        size *= 2
    strengths = -np.arange(len(found), dtype=np.float32)
    return Proposed(found, strengths, np.zeros(len(found), np.int64))
