"""Judges neighbours by what each reader wanted last, which they did not learn from.

One question a reader, so that those who read most do not count most. Rejected: drawing readings at
random, which lets a model learn from what came later.

    judged = judge_neighbours(learnt_without_last, asked)
    judged.figures["recall10"], judged.figures["ndcg10"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.recommender.models.neighbours import Neighbours, reading_weights
from services.recommender.training.deciding import Judged

AT = 10


class LastLeftOut(NamedTuple):
    """A reader before their last reading.

    Attributes:
        read: article ids, the newest first, int64.
        right: the one that came then.
    """

    read: NDArray[np.int64]
    right: int


def leave_last_out(
    readers: NDArray[np.int64], articles: NDArray[np.int64], *, least: int
) -> tuple[NDArray[np.bool_], list[LastLeftOut]]:
    """Which readings are left to learn from, and the questions: one a reader who has `least`
    readings or more.

    Args:
        readers: by reader and then time.
        articles: what each of them read.
    """
    starts = np.flatnonzero(np.diff(readers, prepend=readers[:1] - 1))
    ends = np.append(starts[1:], len(readers))
    kept = np.ones(len(readers), np.bool_)
    asked = []
    for start, end in zip(
        starts[ends - starts >= least], ends[ends - starts >= least], strict=True
    ):
        kept[end - 1] = False
        asked.append(LastLeftOut(articles[start : end - 1][::-1], int(articles[end - 1])))
    return kept, asked


def judge_neighbours(neighbours: Neighbours, asked: Sequence[LastLeftOut]) -> Judged:
    """recall@10 and ndcg@10 of what neighbours propose."""
    places = [
        _place(neighbours.of(one.read, reading_weights(len(one.read)), len(one.read) + AT).ids, one)
        for one in asked
    ]
    return judge_places(places)


def judge_popular(articles: NDArray[np.int64], asked: Sequence[LastLeftOut]) -> Judged:
    """The same of what most readers wanted."""
    ids, readings = np.unique(articles, return_counts=True)
    popular = ids[np.argsort(-readings, kind="stable")]
    return judge_places([_place(popular[: len(one.read) + AT], one) for one in asked])


def judge_places(places: Sequence[int]) -> Judged:
    """Of places from 0; -1 is not found."""
    place = np.array(places, np.int64)
    hit = place >= 0
    worth = np.where(hit, 1 / np.log2(np.maximum(place, 0) + 2), 0.0)
    figures = {f"recall{AT}": float(hit.mean()), f"ndcg{AT}": float(worth.mean())}
    return Judged(figures, worth.astype(np.float32))


def _place(proposed: NDArray[np.int64], asked: LastLeftOut) -> int:
    fresh = proposed[~np.isin(proposed, asked.read)][:AT]
    found = np.flatnonzero(fresh == asked.right)
    return int(found[0]) if len(found) else -1
