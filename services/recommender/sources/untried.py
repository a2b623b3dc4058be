"""untried: new articles that few readers were shown so far, for the exploration slot.

An article without clicks is proposed by no signal; this gives each its first 30 showings, and ends.
Proposes the ten that were shown least of the channel's newest 300, so that a hundred articles
published at once take turns; between equals each reader gets others. Rejected: the newest article
for all, which starves what was published a minute before it, and never ends on a quiet channel.

    Untried(exposures)(question, view).strengths  # 1 for what no reader has seen yet
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import NOTHING, Proposed, Rows, Source
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

# Rows of the catalogue, ids, and how often each was shown.
_Few = tuple[Rows, NDArray[np.int64], NDArray[np.int64]]


class Untried:
    """What few readers were shown; nothing once each new article had its showings. Called under
    the signals' lock."""

    source = UNTRIED

    def __init__(self, exposures: Exposures) -> None:
        self._exposures = exposures
        self._made_of: tuple[View, int] | None = None
        self._lists: dict[tuple[int, int], _Few] = {}

    def __call__(self, question: Question, view: View) -> Proposed:
        rows, ids, showings = self._few(question, view)
        unseen = ~is_in(question.reader.seen, ids)
        rows, ids, showings = rows[unseen], ids[unseen], showings[unseen]
        if not len(rows):
            return NOTHING
        # A multiplicative hash of reader and article, below 1: it only parts equals.
        mixed = (ids ^ question.reader_id).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        turn = (mixed >> np.uint64(40)).astype(np.float64) / 2**24
        first = np.argsort(showings + turn)[:MOST_PROPOSED]
        strengths = (1.0 - showings[first] / FIRST_SHOWINGS).astype(np.float32)
        return Proposed(rows[first], strengths, np.zeros(len(first), np.int64))

    def _few(self, question: Question, view: View) -> _Few:
        """The newest articles of the channel that were shown little: the same for all readers for
        some seconds, until exposures are folded or the catalogue changes."""
        made_of = view, self._exposures.folded
        if made_of != self._made_of:
            self._made_of, self._lists = made_of, {}
        newest = view.newest(question.channel_id, question.now_ms)
        # An article whose moment has come makes the list longer.
        few = self._lists.get((question.channel_id, len(newest)))
        if few is None:
            rows = newest[:NEWEST_LOOKED_AT]
            ids = view.ids[rows]
            showings = self._exposures.showings(ids.tolist())
            little = showings < FIRST_SHOWINGS
            few = rows[little], ids[little], showings[little]
            self._lists[question.channel_id, len(newest)] = few
        return few
