"""Neighbours learned from readings, and what they are judged by."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.recommender.models.neighbours import Neighbours, reading_weights
from services.recommender.training.judging import (
    judge_neighbours,
    judge_places,
    judge_popular,
    leave_last_out,
)
from services.recommender.training.neighbouring import MOST_ARTICLES, learn


def read_by(*readers: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    who = np.repeat(np.arange(len(readers)), [len(read) for read in readers])
    return who, np.array([article for read in readers for article in read], np.int64)


def test_what_is_read_together_goes_together() -> None:
    readers = [[10, 20], [10, 20], [10, 20, 50], [30, 40], [30, 40], [30, 40, 50]] * 5
    neighbours = Neighbours(*learn(*read_by(*readers), ridge=1))
    for article, other in ((10, 20), (20, 10), (30, 40), (40, 30)):
        found = neighbours.of(np.array([article]), reading_weights(1), most=1)
        assert found.ids.tolist() == [other]


def test_the_matrix_is_that_of_ease() -> None:
    random = np.random.default_rng(1)
    read = random.random((40, 7)) < 0.4
    who, what = np.nonzero(read)
    gram = read.T.astype(float) @ read + 3 * np.eye(7)
    inverse = np.linalg.inv(gram)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    learnt = learn(who, what.astype(np.int64) * 11, ridge=3, kept=7)
    assert learnt.ids.tolist() == [11 * place for place in range(7)]
    found = np.zeros((7, 7))
    for place, (near, strength) in enumerate(zip(learnt.near, learnt.strength, strict=True)):
        found[place, near[near >= 0]] = strength[near >= 0]
    assert found == pytest.approx(expected, abs=1e-5)


def test_only_the_strongest_are_kept() -> None:
    random = np.random.default_rng(2)
    who, what = np.nonzero(random.random((200, 30)) < 0.3)
    every, few = learn(who, what, kept=30), learn(who, what, kept=4)
    for near, strength, kept in zip(every.near, every.strength, few.strength, strict=True):
        strongest = np.sort(np.abs(strength[near >= 0]))[-4:]
        assert np.sort(np.abs(kept)) == pytest.approx(strongest, abs=1e-6)


def test_more_articles_than_memory_holds_are_refused() -> None:
    articles = np.arange(MOST_ARTICLES + 1)
    with pytest.raises(ValueError, match="do not fit into memory"):
        learn(articles, articles)


def test_the_last_reading_of_those_who_read_enough_is_left_out() -> None:
    who, what = read_by([1, 2, 3], [4], [5, 6, 7, 8])
    kept, asked = leave_last_out(who, what, least=3)
    assert what[kept].tolist() == [1, 2, 4, 5, 6, 7]
    assert [(one.read.tolist(), one.right) for one in asked] == [([2, 1], 3), ([7, 6, 5], 8)]


def test_figures_are_of_places_from_the_top() -> None:
    assert judge_places([0, -1, 1, -1]).figures == {
        "recall10": 0.5,
        "ndcg10": pytest.approx((1 + 1 / np.log2(3)) / 4),
    }


def test_neighbours_beat_what_is_popular_where_readers_differ() -> None:
    random = np.random.default_rng(3)
    readers = [(random.permutation(12)[:6] + 100 * random.integers(4)).tolist() for _ in range(300)]
    who, what = read_by(*readers)
    kept, asked = leave_last_out(who, what, least=5)
    learnt = judge_neighbours(Neighbours(*learn(who[kept], what[kept])), asked).figures
    popular = judge_popular(what[kept], asked).figures
    assert learnt["recall10"] > 0.9
    assert popular["recall10"] < 0.5
