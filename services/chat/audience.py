"""Who is connected here, and which sockets an entry of the bus is for.

A reader may have several sockets, and one of them may hold several topics; it is told each thing
once. Rejected: a topic of its own for each reader; what is a set of numbers in memory would be a
set of names.

    audience = Audience()
    audience.add(session, ["article:42"])
    audience.find((7, "article:42"))  # [session]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from services.chat.arrivals import Address
from services.chat.hosting import Listener


class Audience:
    """Sets of listeners by address. Nothing in it waits: to coroutines each call is one step."""

    def __init__(self) -> None:
        # A dict is a set that keeps its order: those who came first are told first.
        self._at: dict[Address, dict[Listener, None]] = {}
        self._held: dict[Listener, set[Address]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._held

    def add(self, listener: Listener, topics: Iterable[str]) -> None:
        """From now on it is found by its reader's id and by these topics."""
        self._held[listener] = set()
        self.hold(listener, listener.reader_id)
        for topic in topics:
            self.hold(listener, topic)

    def remove(self, listener: Listener) -> None:
        """It is found no more. One that is not here is nothing to remove."""
        for address in self._held.pop(listener, ()):
            self._take_out(listener, address)

    def hold(self, listener: Listener, address: Address) -> None:
        """It is found by this address too. Nothing changes for one that is not here."""
        if listener in self._held:
            self._held[listener].add(address)
            self._at.setdefault(address, {})[listener] = None

    def release(self, listener: Listener, address: Address) -> None:
        """It is found by this address no more."""
        if listener in self._held and address in self._held[listener]:
            self._held[listener].remove(address)
            self._take_out(listener, address)

    def find(self, addresses: Iterable[Address]) -> list[Listener]:
        """Those at any of these addresses now, each once."""
        found: dict[Listener, None] = {}
        for address in addresses:
            found |= self._at.get(address, {})
        return list(found)

    def all(self) -> list[Listener]:
        """All that are here now."""
        return list(self._held)

    def held_by(self, listener: Listener) -> Collection[Address]:
        """What it is found by."""
        return self._held.get(listener, ())

    def addresses(self) -> Collection[Address]:
        """All that listeners here are found by."""
        return self._at.keys()

    def _take_out(self, listener: Listener, address: Address) -> None:
        at_one = self._at[address]
        del at_one[listener]
        if not at_one:
            del self._at[address]
