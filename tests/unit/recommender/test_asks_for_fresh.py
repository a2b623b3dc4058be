"""Fresh or history: every case of what a request's `time_stamp` can mean, and a server whose clock
was set back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.pipeline import CLOCK_SLACK_MS, asks_for_fresh
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS
from tidings.reading.history import Batch, ReaderState

NEWEST_MS = NOW_MS - HOUR_MS


def state(newest_ms: int, page_ms: int | None = None) -> ReaderState:
    """A reader's state with the newest batch at `newest_ms`, read with the page at `page_ms`."""
    page = None if page_ms is None else Batch(page_ms, [1])
    return ReaderState(newest_ms, newest_ms, [], page, 0)


@pytest.mark.parametrize(
    ("at_ms", "page_ms", "expected"),
    [
        (0, None, True),
        (NOW_MS, NEWEST_MS, True),
        (NEWEST_MS + 1, NEWEST_MS, True),
        (NOW_MS + DAY_MS, NEWEST_MS, True),
        (2**63 - 1, NEWEST_MS, True),
        (NEWEST_MS, NEWEST_MS, False),
        (NEWEST_MS - 1, NEWEST_MS - DAY_MS, False),
        (NEWEST_MS - 1, None, False),
        (1, None, False),
    ],
    ids=[
        "0 is now",
        "now",
        "just after L",
        "tomorrow",
        "for ever",
        "L",
        "before L",
        "before all",
        "1970",
    ],
)
def test_a_moment_after_the_newest_batch_is_fresh_and_any_other_is_history(
    at_ms: int, page_ms: int | None, expected: bool
) -> None:
    """T > L is fresh, T ≤ L is history, 0 is now, and the future counts as now."""
    assert expected == asks_for_fresh(at_ms, NOW_MS, state(NEWEST_MS, page_ms))


@given(st.integers(0, 2**63 - 1))
def test_a_new_reader_is_always_served_fresh(at_ms: int) -> None:
    """Without a history there is nothing to page back to."""
    assert asks_for_fresh(at_ms, NOW_MS, state(0))


@pytest.mark.parametrize(
    ("at_ms", "page_ms", "expected"),
    [
        (0, None, True),
        (NOW_MS, None, True),
        (NOW_MS - CLOCK_SLACK_MS, None, True),
        (NOW_MS + HOUR_MS - 1, NOW_MS + 1, True),
        (NOW_MS + HOUR_MS, NOW_MS + HOUR_MS, False),
        (NOW_MS + 1, NOW_MS + 1, False),
        (NOW_MS - CLOCK_SLACK_MS - 1, None, False),
        (NOW_MS - DAY_MS, NOW_MS - DAY_MS, False),
    ],
    ids=[
        "0",
        "now",
        "about now",
        "a client still ahead",
        "L",
        "another stamp",
        "long ago",
        "an old stamp",
    ],
)
def test_a_server_set_back_serves_now_fresh_and_stamps_from_history(
    at_ms: int, page_ms: int | None, expected: bool
) -> None:
    """The newest batch lies an hour ahead: "now" is fresh all the same, only a batch's own stamp
    asks for it."""
    assert expected == asks_for_fresh(at_ms, NOW_MS, state(NOW_MS + HOUR_MS, page_ms))
