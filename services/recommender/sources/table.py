"""The sources that a feed is chosen from: the one list of them.

A source is its own file and a line here. Rejected: finding them by looking into the folder, where
a file that is there for a test would serve readers.

    make_sources(catalogue, redis)
"""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from services.recommender.candidate import Recall, Source
from services.recommender.catalogue import Catalogue
from services.recommender.sources.again import AGAIN
from services.recommender.sources.hot import Hot
from services.recommender.sources.latest import Latest
from tidings.reading.tracking import LadderSource


def make_sources(catalogue: Catalogue, redis: Redis) -> list[Recall]:
    """The sources that are asked for every fresh feed.

    Raises:
        ValueError: two of them say that they have the same number or name.
    """
    sources: list[Recall] = [Latest(catalogue), Hot(redis, catalogue)]
    check_sources([AGAIN, *(recall.source for recall in sources)])
    return sources


def check_sources(sources: Sequence[Source]) -> None:
    """See that a number in a token, and a name in the metrics, means one source.

    Raises:
        ValueError: it means two, or a number is one of the ladder's.
    """
    taken: set[int | str] = {ladder.value for ladder in LadderSource}
    for source in sources:
        if taken & {source.number, source.name}:
            raise ValueError(f"the number or the name of {source} is another source's")
        taken |= {source.number, source.name}
