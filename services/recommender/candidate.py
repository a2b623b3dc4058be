"""What travels through the pipeline: the question of one request, and the articles that may answer
it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from services.recommender.catalogue import Entry
from tidings.reading.tracking import Source


@dataclass(frozen=True, slots=True)
class Question:
    """One reader wants `wanted` fresh articles of a channel at `now_ms`, none of those they have
    `seen`."""

    channel_id: int
    wanted: int
    now_ms: int
    seen: Set[int]


@dataclass(slots=True)
class Candidate:
    """An article that some source proposed, with what each source thinks of it, from 0 to 1."""

    entry: Entry
    scores: dict[Source, float] = field(default_factory=dict)
    score: float = 0.0

    @property
    def source(self) -> Source:
        """The source that thinks most of it."""
        return max(self.scores, key=lambda source: self.scores[source])
