"""changing: from which page on what a reader did still says what they like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.recommender.changing import first_that_holds

# Clicks that the places of a page let expect, of the first channel and of all others together.
FULL, DRY = (1.0, 0.2), (0.0, 1.2)


def first_of(pages: Sequence[tuple[tuple[float, float], tuple[int, int]]]) -> int:
    """The first page that holds, of pages with what was expected and clicked of two channels."""
    expected = np.array([page[0] for page in pages])
    clicks = np.array([page[1] for page in pages], np.float64)
    weights = 2.0 ** (np.arange(len(pages)) / 4.0)
    return first_that_holds(expected * weights[:, None], clicks * weights[:, None], weights)


def test_a_reader_who_clicks_as_ever_keeps_all_that_is_known() -> None:
    """A page without a click now and then is chance."""
    assert first_of([(FULL, (2, 0))] * 12) == 0
    assert first_of([(FULL, (3, 0)), (FULL, (2, 0)), (FULL, (0, 0))] * 4) == 0


def test_what_was_before_a_taste_changed_is_forgotten() -> None:
    assert first_of([(FULL, (2, 0))] * 8 + [(FULL, (0, 0))] * 3) == 8


def test_it_may_change_more_than_once() -> None:
    """From the first channel to the second, and from that to none."""
    found = [((0.2, 1.0), (0, 2))] * 5
    lost = [((0.2, 1.0), (0, 0))] * 3
    pages = [(FULL, (2, 0))] * 6 + [(FULL, (0, 0))] * 3 + found + lost
    assert first_of(pages) == 14


def test_clicks_on_other_channels_end_no_doubt() -> None:
    assert first_of([(FULL, (2, 0))] * 8 + [(FULL, (0, 1))] * 3) == 8


def test_a_channel_that_has_nothing_new_is_liked_as_before() -> None:
    """Only pages that hold something of a liked channel say that it is liked no more."""
    assert first_of([(FULL, (2, 0))] * 8 + [(DRY, (0, 0))] * 6) == 0


def test_a_reader_who_clicks_on_every_fifth_page_may_pass_over_four() -> None:
    seldom = (0.2, 0.1)
    pages = [(seldom, (int(page % 5 == 4), 0)) for page in range(15)]
    assert first_of([*pages, *[(seldom, (0, 0))] * 4]) == 0


def test_of_no_page_or_one_nothing_is_to_be_forgotten() -> None:
    assert first_that_holds(np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0)) == 0
    assert first_of([(FULL, (0, 0))]) == 0
