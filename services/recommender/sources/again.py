"""again: what was seen the longest ago, to fill a batch that nothing unseen can fill.

A reader who has seen all of a channel gets a page rather than none. What they hid stays hidden, and
what was taken down stays away. Rejected: a short page, which looks like a fault.

    recall_again(question, view, taken=ids_chosen_already, number=3)  # the longest ago first
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Proposed, Source
from services.recommender.catalogue import NO_ROW, View
from services.recommender.filter import Verdict, judge_seen
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in

AGAIN = Source(number=3, name="again")


def recall_again(
    question: Question, view: View, *, taken: NDArray[np.int64], number: int
) -> Proposed:
    """Up to `number` articles of the channel, what was shown the longest ago first.

    Args:
        taken: ids that are in the batch already, ascending.
    """
    rows = view.rows_of(question.reader.shown_before)
    rows = rows[rows != NO_ROW]
    rows = rows[judge_seen(rows, question, view) == Verdict.FIT]
    rows = rows[~is_in(taken, view.ids[rows])][:number]
    strengths = -np.arange(len(rows), dtype=np.float32)
    return Proposed(rows, strengths, np.zeros(len(rows), np.int64))
