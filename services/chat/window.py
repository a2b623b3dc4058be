"""What the bus carried last, kept so that a reader who was away a moment is told it from memory.

After a node has died, ten thousand readers come back within seconds; what each of them missed costs
no query here. It is found by who it was for: a list for each reader and topic, since looking
through all of it for each of them would take the node minutes. The window is bounded by number and
by bytes, and what it cannot fill it says: the reader loads once by REST instead. Rejected: Redis
itself, read from each reader's place; that is one long answer for each, of what is all the same.

    window = Window(most=20_000, most_bytes=32 << 20)
    window.begin((5, 0))
    window.append(arrival)
    window.since((5, 0), [7, "article:42"])  # [arrival], or None if more is gone than is here
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from services.chat.arrivals import Address, Arrival
from services.chat.positions import NOWHERE, EntryId

# Of its bytes: dropping the oldest leaves it a little below the bound.
NEARLY = 0.9


class Window:
    """The newest arrivals in the order of the bus.

    Attributes:
        last: the place behind the newest of them.
    """

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self.begin(NOWHERE)

    def begin(self, place: EntryId) -> None:
        """Forget everything: what is appended from now on follows this place without a gap."""
        self._first = self.last = place
        self._bytes = 0
        self._arrivals: deque[Arrival] = deque()
        self._of: dict[Address, deque[Arrival]] = {}

    def append(self, arrival: Arrival) -> None:
        """It follows the newest one; the oldest ones make room. A live one only moves `last`."""
        self.last = arrival.id
        if arrival.is_live:
            return
        self._arrivals.append(arrival)
        self._bytes += _size(arrival)
        for address in arrival.addresses:
            self._of.setdefault(address, deque()).append(arrival)
        while len(self._arrivals) > self._most or self._bytes > self._most_bytes:
            self._drop_oldest()

    @property
    def capacity(self) -> int:
        """How many entries of such a size it can hold."""
        is_full = self._bytes > self._most_bytes * NEARLY
        return len(self._arrivals) if is_full else self._most

    def since(self, place: EntryId, addresses: Iterable[Address]) -> list[Arrival] | None:
        """What was for these addresses behind that place, in order, each once; None if some of what
        followed the place is gone."""
        if place < self._first:
            return None
        found: dict[EntryId, Arrival] = {}
        for address in addresses:
            for arrival in reversed(self._of.get(address, ())):
                if arrival.id <= place:
                    break
                found[arrival.id] = arrival
        return [found[id_] for id_ in sorted(found)]

    def _drop_oldest(self) -> None:
        oldest = self._arrivals.popleft()
        self._first = oldest.id
        self._bytes -= _size(oldest)
        for address in oldest.addresses:
            of_one = self._of[address]
            of_one.popleft()
            if not of_one:
                del self._of[address]


def _size(arrival: Arrival) -> int:
    return len(arrival.frame) + len(arrival.hidden_frame)
