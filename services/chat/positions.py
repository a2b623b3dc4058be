"""Where a reader stands in all that the bus has carried: the text that a client keeps and shows.

It names the life of the bus as well as the place in it, since a Redis that was flushed counts on
from the clock: the same place would mean something else. To a client it is opaque. Rejected: a
conversation's `seq` alone; it says nothing of notices, read marks and the other conversations.

    Position("9f2c61aa", (1764353112345, 0)).text  # "9f2c61aa.1764353112345-0"
    read_position("9f2c61aa.1764353112345-0")
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Milliseconds and a number within them, as Redis makes the ids of a stream; they are in order.
EntryId = tuple[int, int]
NOWHERE: EntryId = (0, 0)
# Eight digits of the epoch, and two numbers of 64 bits.
_FORM = re.compile(r"([0-9a-f]{8})\.(\d{1,20})-(\d{1,20})", re.ASCII)


class Position(NamedTuple):
    """A place behind an entry, in one life of the bus."""

    epoch: str
    id: EntryId

    @property
    def text(self) -> str:
        """As a client is told it."""
        return f"{self.epoch}.{self.id[0]}-{self.id[1]}"


def read_position(text: str) -> Position | None:
    """The position that a client shows; None if it is none of ours."""
    found = _FORM.fullmatch(text)
    return Position(found[1], (int(found[2]), int(found[3]))) if found else None


def read_id(text: bytes) -> EntryId:
    """The id of a stream's entry, `1764353112345-0`."""
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)
