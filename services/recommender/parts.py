"""What this version's feeds are made of: its sources, ranker, taste and mix, put together in one
place for serving, `tidings evaluate`, training and benchmarks.

Rejected: letting each of them put its own together, since what is judged must be what serves.

    signals = Signals()
    chooser = make_chooser(signals, catalogue.view)
"""

from __future__ import annotations

from collections.abc import Callable

from services.recommender.catalogue import View
from services.recommender.choosing import Chooser
from services.recommender.features import no_taste
from services.recommender.mix import mix
from services.recommender.rank.blend import Blend
from services.recommender.rank.ranker import Ranking
from services.recommender.signals.folding import Signals
from services.recommender.sources.table import make_sources
from services.recommender.walks import Walks

BLEND_VARIANT = 0
EVERY_READER = 100


def make_chooser(signals: Signals, look: Callable[[], View]) -> Chooser:
    """The chooser of a worker.

    Args:
        signals: what all readers did.
        look: the catalogue as it is now.
    """
    walks = Walks(signals)
    return Chooser(
        signals,
        walks,
        make_sources(signals, walks),
        ranking=Ranking([(BLEND_VARIANT, Blend(), EVERY_READER)]),
        taste=no_taste,
        mix=mix,
        look=look,
    )
