"""What this version's feeds are made of: its sources, ranker, taste and mix, put together in one
place for serving, `tidings evaluate`, training and benchmarks.

Rejected: letting each of them put its own together, since what is judged must be what serves.

    signals = Signals()
    chooser = make_chooser(signals, catalogue.view)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from services.recommender.catalogue import View
from services.recommender.choosing import Chooser
from services.recommender.exposures import Exposures
from services.recommender.features import FEATURES
from services.recommender.mix import mix
from services.recommender.models.files import models_of
from services.recommender.models.loading import ModelsInUse
from services.recommender.models.neighbours import Neighbours
from services.recommender.models.variants import Shares
from services.recommender.rank.blend import PLAIN, Blend
from services.recommender.rank.ranker import Picked, Ranking
from services.recommender.signals.folding import Signals
from services.recommender.sources.table import make_sources
from services.recommender.taste import Tastes
from services.recommender.texts import NO_WORDS, Texts
from services.recommender.walks import Walks
from tidings.process.settings import Settings

BLEND_VARIANT = 0
NO_TEXTS = Texts(NO_WORDS)


def no_texts() -> Texts:
    """No article's text is known."""
    return NO_TEXTS


class Models(Ranking, Protocol):
    """What was learned: rankers, and which articles go with which."""

    @property
    def neighbours(self) -> Neighbours | None: ...


class NothingLearned:
    """The hand blend for every reader, as on a site's first day."""

    neighbours = None

    def __init__(self) -> None:
        self._picked = Picked(BLEND_VARIANT, Blend())

    def of(self, reader_id: int) -> Picked:
        """The hand blend."""
        del reader_id
        return self._picked


NOTHING_LEARNED = NothingLearned()


def make_chooser(
    signals: Signals,
    look: Callable[[], View],
    exposures: Exposures | None = None,
    texts: Callable[[], Texts] = no_texts,
    models: Models = NOTHING_LEARNED,
) -> Chooser:
    """The chooser of a worker.

    Args:
        signals: what all readers did.
        look: the catalogue as it is now.
        exposures: what all readers saw; None where no log of it is at hand.
        texts: the vectors of articles as they are now.
        models: what was learned, as it is now.
    """
    walks = Walks(signals)
    exposures = exposures or Exposures()
    tastes = Tastes(exposures, texts)
    return Chooser(
        signals,
        walks,
        make_sources(
            signals,
            walks,
            tastes=tastes,
            exposures=exposures,
            learned=lambda: models.neighbours,
        ),
        ranking=models,
        taste=tastes.columns,
        mix=lambda candidates, view, question: mix(
            candidates,
            view,
            question.wanted,
            prints_of=lambda ids: texts().prints(ids),
            on_trial=tastes.of(question, view).on_trial,
        ),
        look=look,
    )


def make_models(settings: Settings) -> ModelsInUse:
    """The models of a site, to be looked for beside the server."""
    return ModelsInUse(
        models_of(settings.site.var_dir),
        FEATURES,
        blend=Blend(),
        taste=PLAIN,
        shares=Shares(settings.recommender.variants),
    )
