"""untried: new articles that few readers were shown so far, for the exploration slot.

An article without clicks is proposed by no signal; this gives each its first 30 showings, and ends.
Proposes the ten that were shown least of the channel's newest 300, so that a hundred articles
published at once take turns; between equals each reader gets others. Rejected: the newest article
for all, which starves what was published a minute before it, and never ends on a quiet channel.

    Untried(exposures)(question, view).strengths  # 1 for what no reader has seen yet
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.exposures import Exposures
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in

NEWEST_LOOKED_AT = 300
MOST_PROPOSED = 10
# With an expected rate of .06 in the slot, 30 showings tell an article clicked twice as often as
# usual from one that is never clicked in five of six cases.
FIRST_SHOWINGS = 30
UNTRIED = Source(number=7, name="untried", reserved=MOST_PROPOSED)


class Untried:
    """What few readers were shown; nothing once each new article had its showings."""

    source = UNTRIED

    def __init__(self, exposures: Exposures) -> None:
        self._exposures = exposures

    def __call__(self, question: Question, view: View) -> Proposed:
        rows = view.newest(question.channel_id, question.now_ms)[:NEWEST_LOOKED_AT]
        ids = view.ids[rows]
        showings = self._exposures.showings(ids.tolist())
        few = (showings < FIRST_SHOWINGS) & ~is_in(question.reader.seen, ids)
        rows, ids, showings = rows[few], ids[few], showings[few]
        if not len(rows):
            return NOTHING
        # A multiplicative hash of reader and article, below 1: it only parts equals.
        mixed = (ids ^ question.reader_id).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        turn = (mixed >> np.uint64(40)).astype(np.float64) / 2**24
        first = np.argsort(showings + turn)[:MOST_PROPOSED]
        strengths = (1.0 - showings[first] / FIRST_SHOWINGS).astype(np.float32)
        return Proposed(rows[first], strengths, np.zeros(len(first), np.int64))
