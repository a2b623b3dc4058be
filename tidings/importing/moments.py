"""Reads the ways in which files and feeds write a moment: ISO 8601, RFC 822, and seconds or
milliseconds.

What says no time zone is UTC. Nothing is guessed from words or from day-month order: 03/04/2026 is
refused, because an article that is a month out of place is worse than one that is reported.

    parse_moment("2026-11-23T18:00")  # 18:00 in UTC
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = range(1800, 2200)
# As seconds this is the year 5138, as milliseconds 1973: no article is misread. Anything below a
# thousandth of it is rather a year, a date without its dashes, or a zero for "unknown".
FIRST_MS = 100_000_000_000
FIRST_S = FIRST_MS // 1000
# The longest digits that are still a date (20260131); more are counted from the epoch.
DATE_DIGITS = 8


def parse_moment(value: object) -> datetime:
    """The moment in UTC, in whole milliseconds, as it will be stored.

    Raises:
        ValueError: it is none, or lies outside the years 1800 to 2199.
    """
    moment = _parse(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} is out of range") from None
    if moment.year not in YEARS:
        raise ValueError(f"the year {moment.year} is out of range")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def from_milliseconds(ms: int) -> datetime:
    """ms since the epoch as a moment, without the rounding of a float."""
    return EPOCH + timedelta(milliseconds=ms)


def _parse(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_epoch(value)
    if not isinstance(value, str):
        raise ValueError(f"expected a date, got {value!r:.60}")
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) > DATE_DIGITS:
        return _from_epoch(float(text[:30]))
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    raise ValueError(f"{text[:60]!r} is not a date; expected one such as 2026-01-31T08:30:00Z")


def _from_epoch(number: float) -> datetime:
    if isinstance(number, float) and math.isnan(number):
        raise ValueError(f"{number} is not a date")
    if abs(number) < FIRST_S:
        raise ValueError(f"{number:.12g} is too small to be seconds since 1970")
    try:
        return EPOCH + (
            timedelta(milliseconds=number) if abs(number) >= FIRST_MS else timedelta(seconds=number)
        )
    except OverflowError:
        raise ValueError(f"{str(number)[:20]} is out of range") from None
