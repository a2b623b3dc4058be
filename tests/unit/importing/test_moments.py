"""Moments in the ways that files and feeds write them, and nothing that only looks like one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.moments import from_milliseconds, parse_moment

MOMENT = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T08:30:00Z",
        "2026-01-31T09:30:00+01:00",
        "2026-01-31 08:30",
        "Sat, 31 Jan 2026 08:30:00 GMT",
        "Sat, 31 Jan 2026 03:30:00 EST",
        "31 Jan 2026 08:30:00 -0000",
        SECONDS,
        SECONDS * 1000,
        float(SECONDS),
        str(SECONDS),
        f" {SECONDS * 1000} ",
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(timezone(timedelta(hours=9))),
    ],
)
def test_one_moment_written_in_many_ways(written: object) -> None:
    """ISO 8601, RFC 822, seconds and milliseconds; without a zone it is UTC."""
    assert parse_moment(written) == MOMENT
    assert parse_moment(written).tzinfo is UTC


def test_a_date_alone_is_its_midnight() -> None:
    """As many feeds and exports write it."""
    assert (
        parse_moment("2026-01-31") == parse_moment("20260131") == datetime(2026, 1, 31, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("yesterday", "is not a date"),
        ("03/04/2026", "is not a date"),
        ("", "is not a date"),
        ("2026-13-01", "is not a date"),
        ("Sat, 99 Jan 2026 08:30:00 GMT", "is not a date"),
        ("nan", "is not a date"),
        ("٣٤٥٦٧٨٩٠١٢", "is not a date"),
        (float("nan"), "is not a date"),
        (float("inf"), "out of range"),
        (10**400, "out of range"),
        ("9" * 400, "out of range"),
        ("0001-01-01T00:00:00+05:00", "out of range"),
        ("1066-10-14", "the year 1066 is out of range"),
        (64060588800, "the year 4000 is out of range"),
        (2026, "too small"),
        (20260131, "too small"),
        (0, "too small"),
        (True, "expected a date"),
        ([], "expected a date"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_reason(written: object, reason: str) -> None:
    """A guess would put an article years out of place."""
    with pytest.raises(ValueError, match=reason):
        parse_moment(written)


@given(st.text(max_size=40) | st.floats() | st.integers() | st.dates().map(str))
def test_anything_is_a_moment_or_refused(written: object) -> None:
    """Nothing else is ever raised, and no moment has more precision than the database keeps."""
    try:
        moment = parse_moment(written)
    except ValueError:
        return
    assert moment.microsecond % 1000 == 0
    assert 1800 <= moment.year < 2200


@given(st.integers(-(10**12), 5 * 10**12))
def test_milliseconds_are_exact(ms: int) -> None:
    """Through a float, one in a few thousand would be off by one."""
    assert (from_milliseconds(ms) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    ) == ms
