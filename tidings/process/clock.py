"""What time it is: the one clock of a program, and the one way between moments and milliseconds.

Rules take a `Clock` as an argument, so that a test can move it; a program's composition root hands
them `now_ms`. On the wire and in tokens a moment is milliseconds since 1970, in the database an
aware datetime in UTC.

    articles = Articles(engine, redis, card_ttl_s=300, clock=now_ms)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's wall clock."""
    return time.time_ns() // 1_000_000


def milliseconds(moment: datetime) -> int:
    """A moment as ms since the epoch."""
    return round(moment.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
