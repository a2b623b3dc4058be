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


@pytest.mark.parametrize(
    "written",
    [
        "2026/01/31 08:30:00",
        "2026.01.31 08:30",
        "2026-1-31 8:30",
        "2026-01-31T08:30:00.000Z",
        "2026-01-31 08:30:00,0 UTC",
        "20260131T083000Z",
        "20260131083000",
        "202601310830",
        "2026-01-31T09:30:00 CET",
        "2026-01-31T09:30:00+1",
        "2026-01-31T09:30:00+0100",
        "2026-01-31T08:30:00-00:00",
        "2026-01-31 08:30 AM",
        "Sat, 2026-01-31 08:30:00",
        "Sat, 31 January 2026 08:30:00 GMT",
        "Sat 31 Jan 2026 08:30",
        "Sat,31 Jan 2026 08:30:00 GMT",
        "Sat,  31  Jan  2026  08:30:00  GMT",
        "Mon, 31 Jan 2026 08:30:00 GMT",
        "31 Jan 2026 08:30:00",
        "31-Jan-2026 08:30:00",
        "Sat, 31 Jan 26 08:30:00 UT",
        "Jan 31, 2026 08:30:00 AM",
        "Jan. 31, 2026 08:30",
        "Sat, Jan 31, 2026 at 8:30 AM",
        "January 31, 2026 08:30 Z",
        "Sat, 31 Jan 2026 08:30:00 +0000 (Coordinated Universal Time)",
        "Sat, 31 Jan 2026 08:29:60 GMT",
    ],
)
def test_feeds_write_it_in_more_ways(written: str) -> None:
    """With the year first, or with a month's name: in one order only."""
    assert parse_moment(written) == MOMENT


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        ("", 0),
        *((name, 0) for name in ("Z", "UT", "UTC", "GMT", "WET", "-0000", "+00:00")),
        *((name, 1) for name in ("CET", "MEZ", "BST", "WEST", "WAT", "+0100", "+01:00", "GMT+1")),
        *((name, 2) for name in ("CEST", "MESZ", "EET", "SAST", "UTC+2", "GMT+0200", "+0200")),
        *((name, 3) for name in ("EEST", "MSK", "EAT", "IDT")),
        *((name, 5.5) for name in ("IST", "+0530", "+05:30")),
        *((name, 7) for name in ("WIB", "ICT")),
        *((name, 8) for name in ("HKT", "SGT", "AWST")),
        *((name, 9) for name in ("JST", "KST")),
        ("AEST", 10),
        ("AEDT", 11),
        ("NZST", 12),
        *((name, 13) for name in ("NZDT", "+1300")),
        *((name, -3) for name in ("BRT", "ADT")),
        *((name, -4) for name in ("EDT", "AST")),
        *((name, -5) for name in ("EST", "CDT", "GMT-05:00", "-0500", "-5")),
        *((name, -6) for name in ("CST", "MDT")),
        *((name, -7) for name in ("MST", "PDT")),
        *((name, -8) for name in ("PST", "-08:00", "AKDT")),
    ],
)
def test_every_zone_is_as_far_from_utc_as_it_says(zone: str, offset: float) -> None:
    """In both patterns, in capitals or not."""
    for day in ("Sat, 31 Jan 2026 08:30:00", "2026-01-31T08:30:00"):
        for written in (zone, zone.lower()):
            assert parse_moment(f"{day} {written}") == MOMENT - timedelta(hours=offset)


@pytest.mark.parametrize(
    ("written", "hour"),
    [("12:05 AM", 0), ("1:05 AM", 1), ("11:05 am", 11), ("12:05 PM", 12), ("11:05pm", 23)],
)
def test_the_halves_of_a_day(written: str, hour: int) -> None:
    """Midnight and noon are both twelve."""
    assert parse_moment(f"2026-01-31 {written}") == datetime(2026, 1, 31, hour, 5, tzinfo=UTC)


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
        ("Sat, 31 Jan 2026 08:30:00 XYZ", "is not a date"),
        ("Sat, 31 Jan 2026 08:30:00 A", "is not a date"),
        ("Sat, 31 Jan 2026 08:30:00 America/New_York", "is not a date"),
        ("Sat, 31 Jan 2026 08:30:00 CET+1", "is not a date"),
        ("Sat, 31 Jan 2026 08:30:00 +2500", "is not a date"),
        ("Sat, 31 Jan 2026 08:30:00 +0199", "is not a date"),
        ("2026-01-31T08:30:00Z+01:00", "is not a date"),
        ("2026-01-31T08.30.00Z", "is not a date"),
        ("2026-01-31T08:60:00Z", "is not a date"),
        ("2026-01-31T24:30:00Z", "is not a date"),
        ("2026-01-31 13:30 PM", "is not a date"),
        ("2026-02-30", "is not a date"),
        ("2026-31-01", "is not a date"),
        ("2026-01/31", "is not a date"),
        ("2026-01", "is not a date"),
        ("2026", "is not a date"),
        ("2026-W05-6", "is not a date"),
        ("2026-031", "is not a date"),
        ("31/01/2026 08:30", "is not a date"),
        ("01.02.2026", "is not a date"),
        ("31 Foo 2026", "is not a date"),
        ("31 Jan 126 08:30:00 GMT", "is not a date"),
        ("31 Jan 0026 08:30:00 GMT", "the year 26 is out of range"),
        ("99991231", "the year 9999 is out of range"),
        ("08:30", "is not a date"),
        ("2026년 1월 31일", "is not a date"),
        ("2026-01-31" + " " * 99 + "Z", "is not a date"),
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
