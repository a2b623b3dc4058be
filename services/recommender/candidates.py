"""What travels through the pipeline: the articles that may answer a question, in columns.

Some hundred candidates a request are weighed by some twenty numbers each, so they are arrays that
every step narrows or fills, and no objects. A source says itself which number and name it has, in
its own file. Rejected: an object a candidate, whose loops in Python cost more than all arithmetic.

    proposed = hot(question, view)
    candidates = join([(hot.source, proposed)], view)
    candidates.take(candidates.ids != 12)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue import NO_ROW, View
from services.recommender.question import Question

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A source of candidates.

    Attributes:
        number: what tokens say of an article that it brought; no other source ever takes it.
        name: what metrics call it.
        reserved: so many of its candidates are ranked though the shared signals think little of
            them: its strongest, on sources of what few have read yet.
    """

    number: int
    name: str
    reserved: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.number <= 255 and 0 <= self.reserved <= 100):
            raise ValueError(f"{self} has a number or a reserve that cannot be")


class Proposed(NamedTuple):
    """What a source proposes, each article once.

    Attributes:
        rows: rows of the catalogue, (n,) int32; `NO_ROW` is passed over.
        strengths: what the source thinks of each, (n,) float32, comparable within the source only.
        because: the read article that led to each, (n,) int64; 0 for none.
    """

    rows: Rows
    strengths: Floats
    because: NDArray[np.int64]


NOTHING = Proposed(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int64))


class Recall(Protocol):
    """What a source is to the pipeline: it proposes some hundred articles at most, and decides
    nothing. Whether one may be shown, the filter says."""

    @property
    def source(self) -> Source: ...

    def __call__(self, question: Question, view: View) -> Proposed: ...


@dataclass(slots=True, eq=False)
class Candidates:
    """Articles that may answer a question, each once; all columns are parallel.

    Attributes:
        rows: of the catalogue, int32.
        ids: int64.
        sources: number of the source that brought each, uint8.
        strengths: what that source thinks of it, float32.
        because: the read article that led here, int64; 0 for none.
        features: (n, len(FEATURES)) float32, once computed.
        scores: float32, once ranked.
    """

    rows: Rows
    ids: NDArray[np.int64]
    sources: NDArray[np.uint8]
    strengths: Floats
    because: NDArray[np.int64]
    features: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Those of a mask, or of indices in their order."""
        places = which.nonzero()[0] if which.dtype == np.bool_ else which
        return Candidates(*[column.take(places, axis=0) for column in _columns_of(self)])

    def followed_by(self, others: Candidates) -> Candidates:
        """These and then those, which have neither features nor scores."""
        missing = np.zeros((len(others), self.features.shape[1]), np.float32)
        mine, theirs = _columns_of(self), [*_columns_of(others)]
        theirs[_FEATURES] = missing
        return Candidates(*map(np.concatenate, zip(mine, theirs, strict=True)))


_COLUMNS = [field.name for field in fields(Candidates)]
_columns_of: Callable[[Candidates], tuple[NDArray[Any], ...]] = attrgetter(*_COLUMNS)
_FEATURES = _COLUMNS.index("features")


def join(proposals: Sequence[tuple[Source, Proposed]], view: View) -> Candidates:
    """All proposals as one set of candidates.

    An article that several sources propose belongs to the first of them that names a read article
    which led there, else to the first: the order of the sources is their rank in giving a reason,
    and each keeps its reserve for itself.
    """
    rows = np.concatenate([proposed.rows for _, proposed in proposals] or [NOTHING.rows])
    strengths = np.concatenate([p.strengths for _, p in proposals] or [NOTHING.strengths])
    because = np.concatenate([p.because for _, p in proposals] or [NOTHING.because])
    lengths = [len(proposed.rows) for _, proposed in proposals]
    numbers = np.repeat(np.array([s.number for s, _ in proposals], np.uint8), lengths)
    # PERF: `np.unique` finds the same first ones in twice the time.
    order = (2 * rows.astype(np.int64) + (because == 0)).argsort(kind="stable")
    ordered = rows[order]
    is_first = ordered != NO_ROW
    is_first[1:] &= ordered[1:] != ordered[:-1]
    first, own = order[is_first], ordered[is_first]
    number = len(first)
    return Candidates(
        rows=own,
        ids=view.ids[own],
        sources=numbers[first],
        strengths=strengths[first],
        because=because[first],
        features=np.zeros((number, 0), np.float32),
        scores=np.zeros(number, np.float32),
    )
