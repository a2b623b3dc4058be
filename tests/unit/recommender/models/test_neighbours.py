"""Neighbours are found by ids, so that a model of another catalogue proposes what it can."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.recommender.models.neighbours import BadNeighboursError, Neighbours

IDS = np.array([10, 20, 30, 40])
NEAR = np.array([[1, 2], [0, 3], [3, -1], [0, 1]], dtype=np.int32)
STRENGTH = np.array([[0.9, 0.1], [0.5, 0.4], [0.3, 9], [-0.2, 0.1]], dtype=np.float32)


def read(*ids: int) -> NDArray[np.int64]:
    return np.array(ids, dtype=np.int64)


def ones(number: int) -> NDArray[np.float32]:
    return np.ones(number, dtype=np.float32)


def test_what_goes_with_all_that_was_read_adds_up_and_says_why() -> None:
    near = Neighbours(IDS, NEAR, STRENGTH).of(read(20, 30), ones(2), most=10)
    assert near.ids.tolist() == [40, 10]
    assert near.strengths.tolist() == pytest.approx([0.7, 0.5])
    assert near.because.tolist() == [20, 20]


def test_a_weight_counts() -> None:
    weights = np.array([0.1, 1], dtype=np.float32)
    near = Neighbours(IDS, NEAR, STRENGTH).of(read(20, 30), weights, most=10)
    assert near.because.tolist()[:1] == [30]


def test_what_adds_up_to_nothing_is_not_proposed() -> None:
    near = Neighbours(IDS, NEAR, STRENGTH).of(read(40), ones(1), most=10)
    assert near.ids.tolist() == [20]


def test_articles_of_another_catalogue_are_passed_over() -> None:
    neighbours = Neighbours(IDS, NEAR, STRENGTH)
    assert neighbours.of(read(5, 15, 99), ones(3), most=10).ids.tolist() == []
    assert neighbours.of(read(5, 10, 99), ones(3), most=10).ids.tolist() == [20, 30]


def test_no_more_come_than_asked_for() -> None:
    assert Neighbours(IDS, NEAR, STRENGTH).of(read(10, 20), ones(2), most=1).ids.tolist() == [20]


def test_a_model_of_no_articles_proposes_none() -> None:
    empty = Neighbours(IDS[:0], NEAR[:0], STRENGTH[:0])
    assert empty.of(read(10), ones(1), most=10).ids.tolist() == []


@pytest.mark.parametrize(
    ("ids", "near", "strength", "why"),
    [
        (IDS[::-1], NEAR, STRENGTH, "ascending"),
        (IDS[:3], NEAR, STRENGTH, "length"),
        (IDS, NEAR + 1, STRENGTH, "beyond"),
        (IDS, NEAR - 1, STRENGTH, "beyond"),
        (IDS, NEAR, STRENGTH[:, :1], "length"),
        (IDS, NEAR, STRENGTH * np.float32(np.nan), "no number"),
        (IDS, NEAR.astype(np.int64), STRENGTH, "kinds"),
        (IDS, NEAR.ravel(), STRENGTH, "kinds"),
        (IDS, np.zeros((4, 501), np.int32), np.zeros((4, 501), np.float32), "more than 500"),
    ],
)
def test_arrays_that_name_no_neighbours_are_refused(
    ids: NDArray[np.int64], near: NDArray[np.int32], strength: NDArray[np.float32], why: str
) -> None:
    with pytest.raises(BadNeighboursError, match=why):
        Neighbours(ids, near, strength)
