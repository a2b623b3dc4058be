"""Fresh or history: every case of what a request's `time_stamp` can mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.moments import CLOCK_SLACK_MS, YOUNG_MS, page_asked_for
from tests.lab.histories import make_batch
from tests.lab.newsroom import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS
from tidings.reading.reader_state import ReaderState

CHANNEL = 10


def reader(*stamps: int) -> ReaderState:
    """A reader with batches of these stamps, and one of another channel between each two."""
    batches = [
        make_batch([1], channel_id, stamp_ms + later)
        for stamp_ms in stamps
        for channel_id, later in ((CHANNEL, 0), (CHANNEL + 1, 1))
    ]
    return ReaderState(batches[-1].stamp_ms if batches else 0, batches)


def page(at_ms: int, state: ReaderState, now_ms: int = NOW_MS) -> tuple[int, int] | None:
    """The stamp of the page and of the one before it, each 0 if there is none; None if fresh."""
    asked_for = page_asked_for(state, CHANNEL, at_ms, now_ms)
    if asked_for is None:
        return None
    return asked_for.batch.stamp_ms if asked_for.batch else 0, asked_for.before_ms


FIRST, SECOND, NEWEST = NOW_MS - DAY_MS, NOW_MS - HOUR_MS // 2, NOW_MS - MINUTE_MS


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (0, None),
        (NOW_MS, None),
        (NOW_MS - 20, None),
        (NEWEST + 1, None),
        (NEWEST - 1, None),
        (SECOND + 1, None),
        (NOW_MS - CLOCK_SLACK_MS, None),
        (NOW_MS + DAY_MS, None),
        (2**63 - 1, None),
        (NEWEST, (NEWEST, SECOND)),
        (SECOND, (SECOND, FIRST)),
        (FIRST, (FIRST, 0)),
        (NOW_MS - CLOCK_SLACK_MS - 1, (FIRST, 0)),
        (FIRST + 1, (FIRST, 0)),
        (FIRST - 1, (0, 0)),
        (1, (0, 0)),
    ],
    ids=[
        "0 is now",
        "now",
        "a clock 20 ms behind",
        "just after the newest batch",
        "just before the newest batch",
        "between two batches of the last hour",
        "a clock an hour behind",
        "tomorrow",
        "for ever",
        "the newest stamp",
        "a stamp of the last hour",
        "the oldest stamp",
        "more than an hour ago",
        "after a batch of yesterday, which is no stamp",
        "before all",
        "1970",
    ],
)
def test_a_stamp_and_what_is_long_ago_are_history_and_any_other_moment_is_fresh(
    at_ms: int, expected: tuple[int, int] | None
) -> None:
    assert page(at_ms, reader(FIRST, SECOND, NEWEST)) == expected


def test_the_newest_stamp_within_a_second_of_its_making_is_a_refresh() -> None:
    """No client was told it yet: who says it says "now", in the millisecond of another window."""
    state = reader(FIRST, NOW_MS)

    assert page(NOW_MS, state) is None
    assert page(NOW_MS, state, NOW_MS + YOUNG_MS - 1) is None
    assert page(NOW_MS, state, NOW_MS + YOUNG_MS) == (NOW_MS, FIRST)
    assert page(NOW_MS, reader(FIRST, NOW_MS, NOW_MS + 5)) == (NOW_MS, FIRST), "not the newest"


def test_a_stamp_of_another_channel_is_a_moment_like_any_other() -> None:
    state = reader(FIRST, NEWEST)

    assert page(NEWEST + 1, state) is None
    assert page_asked_for(state, CHANNEL + 1, NEWEST + 1, NOW_MS) is not None


@given(st.integers(NOW_MS - CLOCK_SLACK_MS, 2**63 - 1))
def test_a_new_reader_is_served_fresh_by_any_clock_not_far_behind(at_ms: int) -> None:
    assert page(at_ms, reader()) is None


@given(st.integers(1, NOW_MS - CLOCK_SLACK_MS - 1))
def test_a_new_reader_has_no_history_long_ago(at_ms: int) -> None:
    assert page(at_ms, reader()) == (0, 0)


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (0, None),
        (NOW_MS, None),
        (NOW_MS - CLOCK_SLACK_MS, None),
        (NOW_MS + HOUR_MS - 1, None),
        (NOW_MS + HOUR_MS, (NOW_MS + HOUR_MS, NOW_MS + 1)),
        (NOW_MS + 1, (NOW_MS + 1, FIRST)),
        (NOW_MS + HOUR_MS + DAY_MS, None),
        (NOW_MS - CLOCK_SLACK_MS - 1, (FIRST, 0)),
        (FIRST, (FIRST, 0)),
    ],
    ids=[
        "0",
        "now",
        "an hour behind",
        "a client still ahead",
        "the newest stamp",
        "another stamp ahead",
        "beyond all",
        "long ago",
        "an old stamp",
    ],
)
def test_a_server_set_back_serves_now_fresh_and_stamps_from_history(
    at_ms: int, expected: tuple[int, int] | None
) -> None:
    """Batches lie in its future: "now" is fresh all the same, and only their own stamps ask for
    them."""
    assert page(at_ms, reader(FIRST, NOW_MS + 1, NOW_MS + HOUR_MS)) == expected
