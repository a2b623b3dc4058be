"""What the whole site saw: what a place of a page is worth, and how often an article was shown."""

import numpy as np
import pytest

from services.recommender import exposures as module
from services.recommender.exposures import HALF_LIFE_MS, MOST_POSITIONS, Exposures

NOW = 1_795_000_000_000
BATCH = list(range(1, 11))


def test_before_anything_was_seen_the_top_is_worth_the_most() -> None:
    expected = Exposures().expected()
    assert expected[0] == pytest.approx(0.12)
    assert expected[9] == pytest.approx(0.12 * 10**-0.4)
    assert (np.diff(expected) < 0).all()


def test_the_places_readers_click_become_worth_more_than_the_others() -> None:
    exposures = Exposures()
    for _ in range(1000):
        exposures.fold_batch(BATCH, NOW)
    for _ in range(300):
        exposures.fold_click(4, NOW)
    expected = exposures.expected()
    assert expected[4] == pytest.approx(0.3, abs=0.02)
    assert expected[0] < 0.02


def test_clicks_before_their_batches_are_worth_no_more_than_certainty() -> None:
    exposures = Exposures()
    for _ in range(1000):
        exposures.fold_click(0, NOW)
    assert exposures.expected()[0] == 1.0


def test_two_workers_that_started_a_day_apart_agree() -> None:
    old, new = Exposures(), Exposures()
    day = 24 * 3_600_000
    for hour in range(48):
        for exposures in (old, new)[: 1 if hour < 24 else 2]:
            at_ms = NOW + hour * 3_600_000
            for _ in range(50):
                exposures.fold_batch(BATCH, at_ms)
            for _ in range(5 if hour < 24 else 10):
                exposures.fold_click(0, at_ms)
    assert new.expected()[0] == pytest.approx(old.expected()[0], rel=0.1)
    assert day // HALF_LIFE_MS == 4


def test_each_article_counts_its_showings_and_what_was_never_shown_has_none() -> None:
    exposures = Exposures()
    exposures.fold_batch([7, 8], NOW)
    exposures.fold_batch([8], NOW)
    assert exposures.showings([7, 8, 9]).tolist() == [1, 2, 0]


def test_a_place_that_no_page_has_is_no_click() -> None:
    exposures = Exposures()
    before = exposures.expected()
    exposures.fold_click(MOST_POSITIONS, NOW)
    exposures.fold_click(-1, NOW)
    assert (exposures.expected() == before).all()


def test_only_the_latest_articles_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ARTICLES", 100)
    exposures = Exposures()
    for article_id in range(1000):
        exposures.fold_batch([article_id], NOW)
    counted = exposures.showings(range(1000))
    assert counted.sum() <= 100
    assert counted[-50:].all()
