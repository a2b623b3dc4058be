"""Every socket of a node whose reader is known, up to so many of each reader.

A reader has five at most on a node: a browser needs one, and a sixth closes the oldest, which is
the one that a crashed page left behind. Rejected: refusing the sixth, which locks a reader out
until the old ones are found dead.

    sessions.add(session)
    for session in sessions:
        session.close(Closing.RESTART)
"""

from __future__ import annotations

from collections.abc import Iterator

from services.chat.closing import Closing
from services.chat.hosting import Listener

# A page at work, at home, on two telephones, and one more.
MOST_OF_READER = 5


class Sessions:
    """All that are open, by reader, the oldest of each first."""

    def __init__(self) -> None:
        self._of_reader: dict[int, tuple[Listener, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Listener]:
        for listeners in list(self._of_reader.values()):
            yield from listeners

    def add(self, listener: Listener) -> None:
        """One more; of more than a reader may have, the oldest is closed."""
        others = self._of_reader.get(listener.reader_id, ())
        if len(others) >= MOST_OF_READER:
            oldest = others[0]
            self.remove(oldest)
            oldest.close(Closing.REPLACED)
            others = self._of_reader.get(listener.reader_id, ())
        self._of_reader[listener.reader_id] = (*others, listener)
        self._count += 1

    def remove(self, listener: Listener) -> None:
        """It is gone. Nothing happens if it was taken out before."""
        others = self._of_reader.get(listener.reader_id, ())
        left = tuple(one for one in others if one is not listener)
        self._count -= len(others) - len(left)
        if left:
            self._of_reader[listener.reader_id] = left
        else:
            self._of_reader.pop(listener.reader_id, None)
