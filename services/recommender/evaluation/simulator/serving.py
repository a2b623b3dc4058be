"""The feed that serves readers, on a simulated site: the very chooser, its signals folded from
simulated clicks.

    judge(SMALL, seed=1, make_feed=ServingFeed)["taste_gain"]
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue import View
from services.recommender.exposures import Exposures
from services.recommender.parts import make_chooser
from services.recommender.question import Question
from services.recommender.signals.folding import Click, Signals
from services.recommender.texts import make_texts
from tidings.reading.reader_state import Batch

SESSIONS = 4096


class ServingFeed:
    """What `parts.make_chooser` makes, with nothing left out.

    Args:
        view: what may be shown.
        texts: what articles say, by id.
        exposures: what readers saw.
    """

    def __init__(self, view: View, texts: Mapping[int, str], exposures: Exposures) -> None:
        self._signals = Signals(sessions=SESSIONS)
        self._exposures = exposures
        vectors = make_texts(texts)
        self._chooser = make_chooser(self._signals, lambda: view, exposures, lambda: vectors)

    def choose(self, question: Question) -> NDArray[np.int64]:
        """Article ids in the order to show them."""
        return self._chooser.choose(question).ids

    def see(self, reader_id: int, batch: Batch) -> None:
        """A batch was shown and seen."""
        self._exposures.fold_batch(batch.article_ids, batch.stamp_ms)

    def click(self, reader_id: int, batch: Batch, position: int, at_ms: int) -> None:
        """An article of a batch was clicked."""
        self._exposures.fold_click(position, at_ms)
        self.hear(reader_id, batch.article_ids[position], at_ms)

    def hear(self, reader_id: int, article_id: int, at_ms: int) -> None:
        """A reader clicked an article somewhere."""
        click = Click(reader_id, article_id, at_ms // 1000, context=0, undone=False)
        self._signals.fold([click], at_ms / 1000)
