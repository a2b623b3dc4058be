"""What travels through the pipeline: the question of one request, and the articles that may answer
it, with what each source of candidates thinks of them.

A source says itself which number and weight it has, in its own file, and cannot be made without.
Rejected: a table of weights apart from the sources; one that was forgotten there weighed nothing,
and no line said so.

    LATEST = Source(number=1, name="latest", weight=0.4)
    Candidate(entry, {LATEST: 1.0}).source.name  # "latest"
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Protocol

from services.recommender.catalogue import Entry


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A source of candidates.

    Attributes:
        number: what tokens say of an article that it brought; no other source ever takes it.
        name: what metrics call it.
        weight: what its opinion counts in the ranking beside the others', from 0 to 1.
    """

    number: int
    name: str
    weight: float

    def __post_init__(self) -> None:
        if not (0 < self.number <= 255 and 0 <= self.weight <= 1):
            raise ValueError(f"{self} has a number or a weight that cannot be")


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


class Recall(Protocol):
    """What a source is to the pipeline: it proposes some hundred articles at most, and decides
    nothing."""

    source: Source

    def __call__(self, question: Question) -> Iterable[Candidate]: ...
