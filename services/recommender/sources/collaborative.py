"""collaborative: what goes with all that this reader read, learned once a night.

Proposes 100 articles by the model of neighbours that `tidings train` made, the latest readings
counting most. On a site whose articles live for weeks it finds what co-visitation of the last hours
cannot; on news that are a day old it adds little (.05 to .09 of hit@10). The shared signals know
nothing of what it finds, so ten of its best have places reserved among those that are ranked.
Without a model it proposes nothing. Rejected: factors of readers, made at night; a reader of today
has none.

    collaborative = Collaborative(lambda: models.neighbours)
    collaborative(question, view).rows
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.models.neighbours import Neighbours, reading_weights
from services.recommender.question import Question, session_of

COLLABORATIVE = Source(number=9, name="collaborative", reserved=10)
MOST_PROPOSED = 100


class Collaborative:
    """Proposes by neighbours learned at night.

    Args:
        look: the neighbours in use, None if none were learned.
    """

    source = COLLABORATIVE

    def __init__(self, look: Callable[[], Neighbours | None]) -> None:
        self._look = look

    def __call__(self, question: Question, view: View) -> Proposed:
        neighbours = self._look()
        if neighbours is None:
            return NOTHING
        session = session_of(question.reader.acts, question.now_ms)
        read = np.array([*session.clicked, *session.earlier], np.int64)
        if not len(read):
            return NOTHING
        near = neighbours.of(read, reading_weights(len(read)), MOST_PROPOSED)
        return Proposed(view.rows_of(near.ids), near.strengths, near.because)
