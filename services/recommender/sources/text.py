"""text: articles about what the reader clicked, by their words.

Proposes the 100 nearest to all that was clicked, the newest counting most; an article that no
reader has opened yet is found as well as any other. Rejected: the neighbours of the last click
alone, which lose what a reader cares about from one visit to the next.

    TextSource(tastes)(question, view).because  # the clicked article that shares the strongest word
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import NO_ROW, View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from services.recommender.taste import Tastes
from tidings.news.channels import is_every_channel

MOST_PROPOSED = 100
# What was seen already is near too, and is left out afterwards.
MOST_LOOKED_AT = 400


class TextSource:
    """Articles by their words; none for a reader whose clicks have no known text."""

    source = Source(number=6, name="text", reserved=10)

    def __init__(self, tastes: Tastes) -> None:
        self._tastes = tastes

    def __call__(self, question: Question, view: View) -> Proposed:
        taste = self._tastes.of(question, view)
        if taste.profile is None:
            return NOTHING
        ids, strengths = taste.texts.nearest(taste.profile, MOST_LOOKED_AT)
        rows = view.rows_of(ids)
        fit = (rows != NO_ROW) & ~is_in(question.reader.seen, ids)
        fit[fit] = view.published[rows[fit]] <= question.now_ms
        if not is_every_channel(question.channel_id):
            fit[fit] = view.channels[rows[fit]] == question.channel_id
        best = np.flatnonzero(fit)[:MOST_PROPOSED]
        because = taste.texts.origins(taste.profile, ids[best])
        return Proposed(rows[best], strengths[best], because)
