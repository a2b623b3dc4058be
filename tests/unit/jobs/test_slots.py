"""When a static job was due: forwards, backwards, over nights when clocks change, and after missed
days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.static.slots import MOST_MISSED, due_slots, make_trigger, newest_slot, slots_between

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVERY_MINUTE = make_trigger("* * * * *")
NIGHTLY = make_trigger("30 2 * * *")

BOUNDS = (datetime(2025, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - hypothesis adds the zone itself

moments = st.datetimes(*BOUNDS, timezones=st.just(UTC))


@given(
    moments, st.sampled_from(["* * * * *", "*/5 * * * *", "30 2 * * *", "0 4 * * 0", "0 0 29 2 *"])
)
def test_the_newest_slot_is_never_in_the_future_and_nothing_lies_between_it_and_now(
    now: datetime, cron: str
) -> None:
    trigger = make_trigger(cron)
    newest = newest_slot(trigger, now)
    if newest is None:
        assert cron == "0 0 29 2 *"
        return
    assert newest <= now
    assert list(slots_between(trigger, newest, now)) == []


@given(moments, st.integers(0, 3000), st.sampled_from(["once", "all", "skip"]))
def test_a_slot_is_due_only_after_the_last_one_that_ran(
    now: datetime, minutes: int, missed: str
) -> None:
    last = newest_slot(EVERY_MINUTE, now - timedelta(minutes=minutes))
    due = due_slots(EVERY_MINUTE, missed, last, now)  # type: ignore[arg-type]
    assert all(last < slot <= now for slot in due if last is not None)
    assert (
        len(due)
        == {"once": min(minutes, 1), "all": min(minutes, MOST_MISSED), "skip": min(minutes, 1)}[
            missed
        ]
    )


def test_a_night_that_was_slept_through_is_made_good_once() -> None:
    last = NOON - timedelta(days=9, hours=9, minutes=30)
    assert due_slots(NIGHTLY, "once", last, NOON) == [datetime(2026, 11, 23, 2, 30, tzinfo=UTC)]


def test_every_missed_night_is_made_good_oldest_first() -> None:
    last = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
    assert [slot.day for slot in due_slots(NIGHTLY, "all", last, NOON)] == [21, 22, 23]


def test_a_skipped_slot_is_forgotten_after_a_minute() -> None:
    last = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
    assert due_slots(NIGHTLY, "skip", last, NOON) == []
    just_after = datetime(2026, 11, 23, 2, 30, 20, tzinfo=UTC)
    assert len(due_slots(NIGHTLY, "skip", last, just_after)) == 1


def test_without_a_history_only_the_newest_slot_counts() -> None:
    assert due_slots(EVERY_MINUTE, "all", None, NOON) == [NOON]


@pytest.mark.parametrize(
    "day", [datetime(2027, 3, 28, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]
)
def test_the_nights_when_clocks_change_have_24_hours(day: datetime) -> None:
    """APScheduler #1021: a local time zone repeats or skips an hour; UTC does neither."""
    hourly = make_trigger("0 * * * *")
    slots = list(slots_between(hourly, day, day + timedelta(days=1)))
    assert len(slots) == 24
    assert {later - earlier for earlier, later in pairwise(slots)} == {timedelta(hours=1)}


def test_a_bad_expression_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="61"):
        make_trigger("61 * * * *")
