"""Reads the ways in which files and feeds write a moment: ISO 8601, dates with a month's name as
RFC 822 has them, and seconds or milliseconds.

What says no time zone is UTC; a zone that is not in the table below is a reason not to read the
moment. Nothing is guessed from words or from day-month order: 03/04/2026 is refused, because an
article that is a month out of place is worse than one that is reported. Rejected: the standard
library's reader of mail dates and every lenient one, which take an unknown zone for UTC and find a
date in what is none.

    parse_moment("2026-11-23T18:00")  # 18:00 in UTC
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = range(1800, 2200)
# As seconds this is the year 5138, as milliseconds 1973: no article is misread. Anything below a
# thousandth of it is rather a year, a date without its dashes, or a zero for "unknown".
FIRST_MS = 100_000_000_000
FIRST_S = FIRST_MS // 1000
# The longest digits that are still a date (20260131); more are counted from the epoch.
DATE_DIGITS = 8
# The longest moment of those below, with a weekday, a zone and its comment, has fewer.
MAX_CHARS = 80

_TIME = (
    r"(?:(?:[T\s]\s*|\s+at\s+)(?P<hour>\d\d?):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AP]M)?"
    r"\s*(?P<zone>Z|[A-Z]{2,5})?\s*(?P<offset>[+-]\d\d?(?::?\d\d)?)?(?:\s*\([^()]*\))?)?"
)
_FLAGS = re.IGNORECASE | re.ASCII
# 2026-11-27T10:00:00.123+01:00 and its relatives, with the year first and so in one order only.
_ISO = re.compile(
    r"(?:[A-Z]{3,9},?\s+)?(?P<year>\d{4})(?:"
    rf"(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?){_TIME}"
    r"|(?P<month_>\d\d)(?P<day_>\d\d)"
    r"(?:T(?P<hour_>\d\d)(?P<minute_>\d\d)(?P<second_>\d\d)?(?P<zone_>Z)?)?)",
    _FLAGS,
)
# Fri, 27 Nov 2026 10:00:00 +0100, and November 27, 2026.
_NAMED = re.compile(
    r"(?:[A-Z]{3,9}(?:\.?,\s*|\.?\s+))?(?:(?P<day>\d\d?)(?:\s+|-)(?P<month>[A-Z]{3,9})\.?,?"
    r"|(?P<month_>[A-Z]{3,9})\.?\s+(?P<day_>\d\d?),?)"
    rf"(?:\s+|-)(?P<year>\d{{4}}|\d\d),?{_TIME}",
    _FLAGS,
)
# 20261127100000, with or without minutes and seconds. Counted from the epoch these digits would be
# a moment of 1976 or of 2033 and later.
_DIGITS = re.compile(
    r"(?P<year>199\d|20[0-4]\d)(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?P<second>\d\d)?)?",
    _FLAGS,
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
# In minutes east of UTC: RFC 822's, then those in common use. Of abbreviations with several
# meanings the one that most feeds mean: BST is British, IST Indian, CST and AST American. The
# letters of RFC 822 are left out, because the RFC had their signs wrong.
_ZONES = {
    "z": 0,
    "ut": 0,
    "utc": 0,
    "gmt": 0,
    "est": -300,
    "edt": -240,
    "cst": -360,
    "cdt": -300,
    "mst": -420,
    "mdt": -360,
    "pst": -480,
    "pdt": -420,
    "akst": -540,
    "akdt": -480,
    "hst": -600,
    "ast": -240,
    "adt": -180,
    "nst": -210,
    "ndt": -150,
    "brt": -180,
    "brst": -120,
    "art": -180,
    "clt": -240,
    "cot": -300,
    "pet": -300,
    "wet": 0,
    "west": 60,
    "bst": 60,
    "cet": 60,
    "cest": 120,
    "mez": 60,
    "mesz": 120,
    "met": 60,
    "mest": 120,
    "eet": 120,
    "eest": 180,
    "msk": 180,
    "trt": 180,
    "idt": 180,
    "wat": 60,
    "cat": 120,
    "sast": 120,
    "eat": 180,
    "irst": 210,
    "gst": 240,
    "pkt": 300,
    "ist": 330,
    "npt": 345,
    "ict": 420,
    "wib": 420,
    "wita": 480,
    "hkt": 480,
    "sgt": 480,
    "pht": 480,
    "wit": 540,
    "jst": 540,
    "kst": 540,
    "awst": 480,
    "acst": 570,
    "acdt": 630,
    "aest": 600,
    "aedt": 660,
    "nzst": 720,
    "nzdt": 780,
}
# From the west of Alaska's islands to the east of Kiribati.
_OFFSETS = range(-12 * 60, 14 * 60 + 1)


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
    if digits := _DIGITS.fullmatch(text):
        with suppress(ValueError):  # No date: they are counted.
            return _from_parts(digits.groupdict())
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) > DATE_DIGITS:
        return _from_epoch(float(text[:30]))
    for pattern in (_ISO, _NAMED):
        if len(text) <= MAX_CHARS and (found := pattern.fullmatch(text)):
            try:
                return _from_parts(found.groupdict())
            except (ValueError, OverflowError, KeyError):
                break
    raise ValueError(f"{text[:60]!r} is not a date; expected one such as 2026-01-31T08:30:00Z")


def _from_parts(parts: dict[str, str | None]) -> datetime:
    """The moment that was found.

    Raises:
        ValueError: its parts make none.
        KeyError: the month or the zone is not known.
    """
    found = {name.rstrip("_"): part for name, part in parts.items() if part is not None}
    year, month, day = _year(found["year"]), _month(found["month"]), int(found["day"])
    zone = _zone(found.get("zone"), found.get("offset"))
    hour, minute, second = (int(found.get(name, 0)) for name in ("hour", "minute", "second"))
    if half := found.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} {half}")
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    # 60 is a leap second.
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no such time of day")
    fraction = int(found.get("fraction", "0").ljust(6, "0")[:6])
    time = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=fraction)
    return datetime(year, month, day, tzinfo=zone) + time


def _year(text: str) -> int:
    # Of two digits by RFC 2822.
    return int(text) if len(text) == 4 else int(text) + (2000 if int(text) < 50 else 1900)


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    written = text.lower()
    for number, name in enumerate(_MONTHS, start=1):
        if written in (name, name[:3]) or (len(written) == 4 and written == name[:4]):
            return number
    raise KeyError(text)


def _zone(name: str | None, offset: str | None) -> timezone:
    minutes = _ZONES[name.lower()] if name else 0
    if offset:
        if minutes or (name or "").lower() == "z":
            raise ValueError(f"{name} and {offset}")
        digits = offset[1:].replace(":", "")
        hours, rest = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
        minutes = (int(hours) * 60 + int(rest)) * (-1 if offset[0] == "-" else 1)
        if int(rest) > 59 or minutes not in _OFFSETS:
            raise ValueError(f"no zone is at {offset}")
    return timezone(timedelta(minutes=minutes))


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
