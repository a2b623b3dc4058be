"""What this version's feeds are made of: its sources, ranker, taste and mix, put together in one
place for serving, `tidings evaluate`, training and benchmarks.

Rejected: letting each of them put its own together, since what is judged must be what serves.

    signals = Signals()
    chooser = make_chooser(signals, catalogue.view)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from services.recommender.catalogue import View
from services.recommender.choosing import Chooser
from services.recommender.exposures import Exposures
from services.recommender.mix import mix
from services.recommender.rank.blend import Blend
from services.recommender.rank.ranker import Ranking
from services.recommender.signals.folding import Signals
from services.recommender.sources.table import make_sources
from services.recommender.taste import Tastes
from services.recommender.texts import NO_WORDS, Texts
from services.recommender.walks import Walks

BLEND_VARIANT = 0
EVERY_READER = 100
NO_TEXTS = Texts(NO_WORDS)


def no_texts() -> Texts:
    """No article's text is known."""
    return NO_TEXTS


def make_chooser(
    signals: Signals,
    look: Callable[[], View],
    exposures: Exposures | None = None,
    texts: Callable[[], Texts] = no_texts,
) -> Chooser:
    """The chooser of a worker.

    Args:
        signals: what all readers did.
        look: the catalogue as it is now.
        exposures: what all readers saw; None where no log of it is at hand.
        texts: the vectors of articles as they are now.
    """
    walks = Walks(signals)
    exposures = exposures or Exposures()
    tastes = Tastes(exposures, texts)
    return Chooser(
        signals,
        walks,
        make_sources(signals, walks, tastes=tastes, exposures=exposures),
        ranking=Ranking([(BLEND_VARIANT, Blend(), EVERY_READER)]),
        taste=tastes.columns,
        mix=partial(mix, prints_of=lambda ids: texts().prints(ids)),
        look=look,
    )
