"""neighbours: what other readers read after the articles that this reader clicked.

Proposes the 300 best of what stands in the same sessions as the last ten clicks of this session and
the last thirty of earlier ones. Where readers went from an article at least twice as often as
readers go there from anywhere, that article is the reason. Rejected: neighbours made once a night,
.05 to .09 of hit@10 on news that are a day old.

    neighbours = Neighbours(signals, walks)
    neighbours(question, view).because  # the clicked article that led to each
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.signals.counters import Kind
from services.recommender.signals.folding import Signals
from services.recommender.signals.walk import Window
from services.recommender.walks import Walks

NEIGHBOURS = Source(number=4, name="neighbours")
MOST_PROPOSED = 300
TELLING_LIFT = 2.0


class Neighbours:
    """Proposes what follows the reader's own clicks; called under the signals' lock."""

    source = NEIGHBOURS

    def __init__(self, signals: Signals, walks: Walks) -> None:
        self._signals = signals
        self._walks = walks

    def __call__(self, question: Question, view: View) -> Proposed:
        session, walk, blend = self._walks.of(question)
        if not len(walk):
            return NOTHING
        best = np.arange(len(walk))
        if len(walk) > MOST_PROPOSED:
            best = np.argpartition(-blend, MOST_PROPOSED)[:MOST_PROPOSED]
        slots = walk.slots[best]
        clicked = np.array([*session.clicked, *session.earlier], np.int64)
        because = clicked[walk.because(best)]
        counters = self._signals.counters
        share = counters.of(Kind.ALL_1H)[slots] / counters.total(Kind.ALL_1H)
        led = walk.sums(Window.H1)[best] + walk.earlier[best]
        because[led < TELLING_LIFT * share] = 0
        rows = view.rows_of(self._signals.ids_of(slots))
        return Proposed(rows, blend[best].astype(np.float32), because)
