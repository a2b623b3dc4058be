"""latest: the newest unseen articles of the channel, scored by age.

It walks the channel from its newest article past what was seen, so in the end it reaches the whole
backlog: a feed falls short only when the channel is exhausted.

    list(Latest(catalogue)(question))  # the newest first
"""

from __future__ import annotations

from collections.abc import Iterable

from services.recommender.candidate import Candidate, Question, Source
from services.recommender.catalogue import Catalogue

LATEST = Source(number=1, name="latest", weight=0.4)
LATEST_PER_WANTED = 3
LATEST_LEAST = 30
# Freshness halves in this time; what is a day old can still be new to a reader.
HALF_LIFE_MS = 12 * 3600 * 1000


class Latest:
    """Proposes three articles for each one wanted, and thirty at least."""

    source = LATEST

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __call__(self, question: Question) -> Iterable[Candidate]:
        limit = max(LATEST_PER_WANTED * question.wanted, LATEST_LEAST)
        unseen = self._catalogue.newest_first(
            question.channel_id, lambda id_: id_ not in question.seen, limit
        )
        for entry in unseen:
            freshness = 0.5 ** ((question.now_ms - entry.published_ms) / HALF_LIFE_MS)
            yield Candidate(entry, {LATEST: freshness})
