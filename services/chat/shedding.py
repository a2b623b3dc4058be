"""Lets go of all sockets when the process is told to stop, so many a second.

Five thousand clients that are dropped at once come back at once, to nodes that have their own to
serve. So each is told when to come back, at a moment of its own within as long as the shedding
takes, and a slice is closed twenty times a second; time that a slow slice took is not made up for.
Rejected: to wait until clients leave by themselves, which a chat's clients never do.

    shed(door, per_s=500)  # returns once all have been told, and have left
"""

from __future__ import annotations

import random
import time

from services.chat.closing import Closing
from services.chat.door import LEAVE_S, Door

_SLICE_S = 0.05
# A client that comes back sooner may find the process that it left.
_LEAST_MS = 1000
_LOOK_S = 0.05


def shed(door: Door, per_s: int) -> None:
    """Give no more sockets, and close those there are."""
    door.is_stopping = True
    left = [*door.sessions, *(one for one in door.all if not one.reader_id)]
    random.shuffle(left)
    most_ms = _LEAST_MS + 1000 * len(left) // per_s
    # Of fewer than twenty a second, one a slice, and longer slices.
    size = max(1, round(per_s * _SLICE_S))
    while left:
        until_s = time.monotonic() + size / per_s
        for session in left[-size:]:
            session.close(Closing.RESTART, random.randint(_LEAST_MS, most_ms))  # noqa: S311 - to spread clients, not to hide
        del left[-size:]
        time.sleep(max(0.0, until_s - time.monotonic()))
    give_up_s = time.monotonic() + LEAVE_S
    while door.all and time.monotonic() < give_up_s:
        time.sleep(_LOOK_S)
