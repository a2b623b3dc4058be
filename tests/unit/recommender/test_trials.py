"""trials: places for channels of which little is known, as many as liked channels are missing."""

from __future__ import annotations

import numpy as np

from services.recommender.features import FEATURES
from services.recommender.mix import mix
from services.recommender.trials import (
    ALL_PLACES,
    HALF_THE_PLACES,
    ONE_PLACE,
    places_on_trial,
)
from tests.lab.feeds import a_view, candidates

CHANNEL = FEATURES.index("channel")


def places(
    *affinities: float, clicks: int = 9, held: int | None = None, lately: float = 4.0
) -> tuple[int, ...]:
    liking = np.array(affinities, np.float32)
    still = clicks if held is None else held
    return places_on_trial(clicks, still, lately=lately, affinities=liking)


def test_nothing_is_on_trial_before_a_taste_is_known() -> None:
    assert places(0.8, -0.3, clicks=4) == ()
    assert places(0.8, -0.3, clicks=5) == HALF_THE_PLACES


def test_nothing_is_on_trial_for_a_reader_who_seldom_clicks() -> None:
    assert places(0.3, 0.0, clicks=50, lately=0.7) == ()


def test_the_fewer_channels_are_liked_the_more_places_are_on_trial() -> None:
    """A channel that was clicked once, long ago, is not liked for certain."""
    assert places(0.2, 0.0, -0.8) == ALL_PLACES
    assert places(0.2, 0.6, -0.8) == HALF_THE_PLACES
    assert places(0.8, 0.6, 0.4) == ONE_PLACE


def test_a_reader_with_one_interest_is_not_searched_for_a_second_for_ever() -> None:
    """But again once the taste has changed."""
    assert places(0.8, -0.3, clicks=20) == ONE_PLACE
    assert places(0.8, -0.3, clicks=90, held=19) == HALF_THE_PLACES


def test_places_on_trial_bring_channels_that_the_ranking_left_out_the_most_liked_first() -> None:
    """A liked channel twice, one that is not known once, and one that is passed over last."""
    view = a_view(40, channels={id_: 1 + (id_ - 1) // 10 for id_ in range(1, 41)})
    some = candidates(range(1, 41), view, scores=[40.0 - id_ for id_ in range(1, 41)])
    some.features = np.zeros((40, len(FEATURES)), np.float32)
    for channel, affinity in ((1, 0.8), (2, 0.3), (4, -0.3)):
        some.features[view.channels[some.rows] == channel, CHANNEL] = affinity
    some.scores += (view.channels[some.rows] == 1) * 100

    page = some.ids[mix(some, view, 10, on_trial=(2, 4, 5, 7))]
    assert ((page - 1) // 10 + 1).tolist() == [1, 1, 2, 1, 2, 3, 1, 4, 1, 1]
