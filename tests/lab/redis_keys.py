"""What the table of keys allows, worked out: which row a key belongs to, how long it may live and
how large it may be.

    (row,) = [row for row in KEYS if matches(row, "t1:{7}:seen")]
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tidings.store.keys import DAY_S, Key

UNITS_S = {"DAYS": DAY_S, "S": 1}
ReadSetting = Callable[[str], int]


def matches(row: Key, key: str) -> bool:
    """True if `key` is one of this row."""
    pattern = re.sub(r"<\w+>", r"\\d+", re.escape(row.shape).replace(r"\<", "<"))
    return bool(re.fullmatch(pattern, key))


def longest_ttl_s(row: Key, setting: ReadSetting) -> float:
    """The most seconds that a key of this row may have left to live; 0 is for ever.

    Args:
        setting: the value of a setting, by its name in capitals; its last word is the unit.
    """
    ttl_s = row.ttl_s
    if row.ttl_setting:
        ttl_s = setting(row.ttl_setting) * UNITS_S[row.ttl_setting.rpartition("_")[2]]
    return ttl_s * (1 + row.ttl_spread)


def largest(row: Key, setting: ReadSetting) -> int:
    """The most bytes, members or entries that a key of this row may have."""
    return row.most * (setting(row.most_setting) if row.most_setting else 1)
