"""Who is connected here, and which sockets an entry of the bus is for.

A reader may have several sockets, and one of them may hold several topics; it is told each thing
once. Rejected: a topic of its own for each reader; what is a set of numbers in memory would be a
set of names.

    audience = Audience()
    audience.add(session, ["article:42"])
    audience.find((7, "article:42"))  # [session]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from services.chat.arrivals import Address
from services.chat.hosting import Listener


class Audience:
    """Sets of listeners by address. Nothing in it waits: to coroutines each call is one step."""

    def __init__(self) -> None:
        # Most readers have one socket, and a tuple of one is a fifth of a set of one.
        self._of_reader: dict[int, tuple[Listener, ...]] = {}
        # A dict is a set that keeps its order: those who came first are told first.
        self._on_topic: dict[str, dict[Listener, None]] = {}
        self._topics: dict[Listener, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def add(self, listener: Listener, topics: Iterable[str]) -> None:
        """From now on it is found by its reader's id and by these topics."""
        self._topics[listener] = ()
        others = self._of_reader.get(listener.reader_id, ())
        self._of_reader[listener.reader_id] = (*others, listener)
        for topic in topics:
            self.follow(listener, topic)

    def remove(self, listener: Listener) -> None:
        """It is found no more. One that is not here is nothing to remove."""
        if listener not in self._topics:
            return
        for topic in self._topics[listener]:
            self.unfollow(listener, topic)
        del self._topics[listener]
        others = self._of_reader.pop(listener.reader_id)
        left = tuple(one for one in others if one is not listener)
        if left:
            self._of_reader[listener.reader_id] = left

    def follow(self, listener: Listener, topic: str) -> None:
        """It is found by this topic too. Nothing changes for one that is not here."""
        if listener in self._topics and topic not in self._topics[listener]:
            self._topics[listener] += (topic,)
            self._on_topic.setdefault(topic, {})[listener] = None

    def unfollow(self, listener: Listener, topic: str) -> None:
        """It is found by this topic no more."""
        topics = self._topics.get(listener, ())
        if topic not in topics:
            return
        self._topics[listener] = tuple(one for one in topics if one != topic)
        del self._on_topic[topic][listener]
        if not self._on_topic[topic]:
            del self._on_topic[topic]

    def find(self, addresses: Iterable[Address]) -> Sequence[Listener]:
        """Those at any of these addresses now, each once."""
        found: list[Listener] = []
        for address in addresses:
            if isinstance(address, int):
                found += self._of_reader.get(address, ())
            else:
                found += self._on_topic.get(address, ())
        return list(dict.fromkeys(found))

    def all(self) -> Sequence[Listener]:
        """All that are here now."""
        return list(self._topics)

    def has(self, reader_id: int) -> bool:
        """Whether a reader is here."""
        return reader_id in self._of_reader

    def topics_of(self, listener: Listener) -> Sequence[str]:
        """What it follows."""
        return self._topics.get(listener, ())

    def topics(self) -> Collection[str]:
        """All that is followed by those who are here."""
        return self._on_topic.keys()
