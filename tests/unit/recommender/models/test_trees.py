"""Trees scored in numpy answer what lightgbm answers, for any number a feature may hold."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from services.recommender.models.trees import BadTreesError, Nodes, Trees
from services.recommender.training.growing import grow, nodes_of

FEATURES = 6
NODES = Nodes(  # x0 <= 1 ? (x1 <= 2 ? leaf 0 : leaf 1) : leaf 2
    splits=np.array([2], dtype=np.int32),
    feature=np.array([0, 1], dtype=np.int32),
    threshold=np.array([1.0, 2.0]),
    left=np.array([1, -1], dtype=np.int32),
    right=np.array([-3, -2], dtype=np.int32),
    missing_left=np.array([False, True]),
    leaf=np.array([10.0, 20.0, 30.0]),
)


def train_booster(seed: int, *, with_missing: bool, leaves: int = 16) -> lightgbm.Booster:
    random = np.random.default_rng(seed)
    features = random.normal(size=(3000, FEATURES)).astype(np.float32)
    features[:, 1] = np.round(features[:, 1] * 2)
    features[:, 2] = random.integers(0, 3, 3000)
    target = features[:, 0] * features[:, 1] + np.sin(features[:, 3] * 3) + (features[:, 2] == 1)
    if with_missing:
        features[random.random(features.shape) < 0.2] = np.nan
        features[random.random(features.shape) < 0.02] = np.inf
        features[random.random(features.shape) < 0.02] = -np.inf
    return lightgbm.train(
        {"num_leaves": leaves, "num_threads": 1, "verbosity": -1, "seed": seed},
        lightgbm.Dataset(features, label=target),
        num_boost_round=40,
    )


BOOSTERS = [
    train_booster(seed, with_missing=bool(seed % 2), leaves=leaves)
    for seed, leaves in enumerate([16, 16, 15, 15, 3])
]


def predict(booster: lightgbm.Booster, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(booster.predict(features, num_threads=1), dtype=np.float64)


@settings(max_examples=150, deadline=None)
@given(
    booster=st.sampled_from(BOOSTERS),
    features=arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.just(FEATURES)),
        elements=st.one_of(
            st.floats(width=32), st.floats(-3, 3, width=32), st.sampled_from([0.0, -0.0, 1.0])
        ),
    ),
)
def test_any_candidates_score_what_lightgbm_says(
    booster: lightgbm.Booster, features: NDArray[np.float32]
) -> None:
    trees = Trees(nodes_of(booster), FEATURES)
    assert np.abs(trees.sums(features) - predict(booster, features)).max() < 1e-9


@pytest.mark.parametrize("booster", BOOSTERS)
def test_a_value_on_a_threshold_and_beside_it_goes_where_lightgbm_sends_it(
    booster: lightgbm.Booster,
) -> None:
    nodes = nodes_of(booster)
    with np.errstate(over="ignore"):
        near = nodes.threshold.astype(np.float32)
    values = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, -np.float32(np.inf))]
    features = np.zeros((3 * len(near), FEATURES), dtype=np.float32)
    features[np.arange(3 * len(near)), np.tile(nodes.feature, 3)] = np.concatenate(values)
    scores = Trees(nodes, FEATURES).sums(features)
    assert np.abs(scores - predict(booster, features)).max() < 1e-9


def test_lambdamart_grown_for_lists_scores_the_same_and_orders_the_clicked_first() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(200 * 20, FEATURES)).astype(np.float32)
    best = features[:, 0].reshape(200, 20).argmax(axis=1)
    clicked = np.zeros((200, 20), dtype=np.int8)
    clicked[np.arange(200), best] = 1
    nodes = grow(features, clicked.reshape(-1), np.full(200, 20, dtype=np.int32), seed=1)
    trees = Trees(nodes, FEATURES)
    found = trees.score(features).reshape(200, 20).argmax(axis=1)
    assert (found == best).mean() > 0.9
    assert grow(features, clicked.reshape(-1), np.full(200, 20, dtype=np.int32), seed=1).leaf == (
        pytest.approx(nodes.leaf, abs=0)
    )


def test_trees_that_never_split_give_every_candidate_the_same() -> None:
    nodes = Nodes(
        splits=np.zeros(2, dtype=np.int32),
        feature=np.zeros(0, dtype=np.int32),
        threshold=np.zeros(0),
        left=np.zeros(0, dtype=np.int32),
        right=np.zeros(0, dtype=np.int32),
        missing_left=np.zeros(0, dtype=np.bool_),
        leaf=np.array([1.0, 0.5]),
    )
    assert Trees(nodes, 3).score(np.zeros((4, 3), dtype=np.float32)).tolist() == [1.5] * 4


def test_no_candidates_are_no_scores() -> None:
    assert Trees(NODES, 2).score(np.empty((0, 2), dtype=np.float32)).shape == (0,)


def test_a_small_tree_is_read_as_it_is_written() -> None:
    features = np.array(
        [[1, 2], [1, 2.5], [1.5, 0], [np.nan, 0], [0, np.nan], [np.inf, 0], [-np.inf, np.inf]],
        dtype=np.float32,
    )
    assert Trees(NODES, 2).score(features).tolist() == [10, 20, 30, 30, 10, 30, 20]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"leaf": np.array([1.0, np.nan, 2.0])}, "no number"),
        ({"threshold": np.array([1.0, np.nan])}, "no number"),
        ({"feature": np.array([0, 2], dtype=np.int32)}, "beyond"),
        ({"feature": np.array([0, -1], dtype=np.int32)}, "beyond"),
        ({"left": np.array([0, -1], dtype=np.int32)}, "hang together"),
        ({"left": np.array([1, 1], dtype=np.int32)}, "hang together"),
        ({"right": np.array([-3, -9], dtype=np.int32)}, "hang together"),
        ({"splits": np.array([1], dtype=np.int32)}, "do not fit"),
        ({"splits": np.array([16], dtype=np.int32)}, "more than 16 leaves"),
        ({"splits": np.zeros(0, dtype=np.int32)}, "0 trees"),
        ({"leaf": np.array([1.0, 2.0])}, "do not fit"),
        ({"leaf": np.array([1, 2, 3])}, "leaf is int64"),
        ({"left": np.array([[1], [-1]], dtype=np.int32)}, "2 dimensions"),
        ({"right": np.array([-3], dtype=np.int32)}, "differ in length"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(BadTreesError, match=why):
        Trees(replace(NODES, **changed), 2)  # type: ignore[arg-type]


def test_a_split_that_takes_zeros_for_missing_is_refused() -> None:
    booster = lightgbm.train(
        {"zero_as_missing": True, "num_threads": 1, "verbosity": -1},
        lightgbm.Dataset(np.tile(np.arange(100.0), (2, 1)).T, label=np.arange(100.0)),
        num_boost_round=1,
    )
    with pytest.raises(BadTreesError, match="NaN for missing"):
        nodes_of(booster)
