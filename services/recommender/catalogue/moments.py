"""Moments as SQLite holds them, a million at a time: text of 23 characters into milliseconds.

The digits of a whole column are read by arithmetic on its bytes. What does not have that shape is
read one by one, as the rest of the product reads it, and what is no date is told as `UNREADABLE`.
Rejected: `datetime.fromisoformat` a cell, a second per million, and numpy's own reading of dates,
which takes "now" for one.

    read_moments([b"2026-11-28 10:00:00.123", b"0000-00-00"])  # [1795860000123, UNREADABLE]
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tidings.process.clock import milliseconds

UNREADABLE = int(np.iinfo(np.int64).min)
SHAPE = b"0000-00-00 00:00:00.000"
_SHAPE = np.frombuffer(SHAPE, dtype=np.uint8)
_IS_DIGIT = np.equal(_SHAPE, ord("0"))
DAY_MS = 24 * 3600 * 1000
_MONTH = "datetime64[M]"
_DAY = "datetime64[D]"


def read_moments(texts: Sequence[bytes]) -> NDArray[np.int64]:
    """Milliseconds since the epoch, (n,) int64; `UNREADABLE` where a text is no date."""
    shaped = texts
    if {*map(len, texts)} - {len(SHAPE)}:
        shaped = [text if len(text) == len(SHAPE) else SHAPE for text in texts]
    moments = _read_shaped(np.frombuffer(b"".join(shaped), dtype=np.uint8))
    for place in np.flatnonzero(moments == UNREADABLE).tolist():
        moments[place] = _read_one(texts[place])
    return moments


def _read_shaped(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    cells = text.reshape(-1, len(SHAPE))
    digits = cells - np.uint8(ord("0"))  # what is below wraps around, and is no digit either
    has_shape = np.all(np.where(_IS_DIGIT, digits < 10, cells == _SHAPE), axis=1)
    year, month, day, hour, minute, second, ms = (
        _number(digits, start, stop)
        for start, stop in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19), (20, 23))
    )
    months = ((year - 1970) * 12 + month - 1).astype(_MONTH)
    first = months.astype(_DAY).astype(np.int64)
    days = (months + 1).astype(_DAY).astype(np.int64) - first
    is_date = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days)
    is_time = (hour < 24) & (minute < 60) & (second < 60)
    moments = (first + day - 1) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms
    return np.where(has_shape & is_date & is_time, moments, UNREADABLE)


def _number(digits: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.int64]:
    number = np.zeros(len(digits), dtype=np.int64)
    for place in range(start, stop):
        number = number * 10 + digits[:, place]
    return number


def _read_one(text: bytes) -> int:
    try:
        return milliseconds(datetime.fromisoformat(text.decode()).replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return UNREADABLE
