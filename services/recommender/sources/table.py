"""The sources that a feed is chosen from: the one list of them.

A source is its own file and a line here. The order is their rank where several propose the same
article: the first is named in its token and gives the reason. Rejected: finding them by looking
into the folder, where a file that is there for a test would serve readers.

    make_sources(
        signals, walks, tastes=tastes, exposures=exposures, learned=lambda: models.neighbours
    )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.recommender.candidates import Recall, Source
from services.recommender.exposures import Exposures
from services.recommender.models.neighbours import Neighbours as Learned
from services.recommender.signals.folding import Signals
from services.recommender.sources.again import AGAIN
from services.recommender.sources.backlog import BACKLOG
from services.recommender.sources.collaborative import COLLABORATIVE, Collaborative
from services.recommender.sources.hot import Hot
from services.recommender.sources.latest import Latest
from services.recommender.sources.neighbours import Neighbours
from services.recommender.sources.taste import TasteSource
from services.recommender.sources.text import TextSource
from services.recommender.sources.unfamiliar import Unfamiliar
from services.recommender.sources.untried import Untried
from services.recommender.taste import Tastes
from services.recommender.walks import Walks
from tidings.reading.tracking import LadderSource


def make_sources(
    signals: Signals,
    walks: Walks,
    *,
    tastes: Tastes,
    exposures: Exposures,
    learned: Callable[[], Learned | None],
) -> list[Recall]:
    """The sources that are asked for every fresh feed.

    Args:
        learned: the neighbours that were learned at night; None where none were.
    """
    return [
        Neighbours(signals, walks),
        TasteSource(tastes),
        TextSource(tastes),
        Collaborative(learned),
        Hot(signals),
        Untried(exposures),
        Unfamiliar(tastes),
        Latest(),
    ]


def source_names() -> dict[int, str]:
    """The name of each number in a token, the ladder's too; 0 is what no source brought."""
    known = check_sources(
        [
            Neighbours.source,
            TasteSource.source,
            TextSource.source,
            COLLABORATIVE,
            Hot.source,
            Untried.source,
            Unfamiliar.source,
            Latest.source,
        ]
    )
    names = {number: source.name for number, source in known.items()}
    return names | {ladder.value: ladder.name.lower() for ladder in LadderSource}


def check_sources(sources: Sequence[Source]) -> dict[int, Source]:
    """The sources by number, those that only fill a batch up too.

    Raises:
        ValueError: a number in a token, or a name in the metrics, would mean two sources, or the
            number is one of the ladder's.
    """
    known: dict[int, Source] = {}
    taken: set[int | str] = {ladder.value for ladder in LadderSource}
    for source in (*sources, BACKLOG, AGAIN):
        if taken & {source.number, source.name}:
            raise ValueError(f"the number or the name of {source} is another source's")
        taken |= {source.number, source.name}
        known[source.number] = source
    return known
