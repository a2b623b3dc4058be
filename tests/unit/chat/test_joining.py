"""Joining loses nothing, doubles nothing and keeps the order, while the bus never pauses: a client
joins, is cut off and comes back at moments that the test draws, in the middle of a fan-out too.

Coroutines change places only where one waits. Those places are the pauses of a fan-out and the
reading of the state, and in each of them the test may do anything that another coroutine could.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chat import hub as hub_module
from services.chat.closing import Closing
from services.chat.hub import BusEntry, Hub, Start
from services.chat.positions import Position
from services.chat.sse import payload_of
from services.chat.window import Window
from tidings.talk.events import Deleted, Entry

READERS = (7, 9)
TOPIC = "article:42"
EPOCH = "0123abcd"


class Client:
    """A client as docs/chat.md tells one to be: it keeps the `pos` of the last frame it had, shows
    it when it comes back, and loads everything anew where it is told to."""

    def __init__(self, reader_id: int, stored: list[int]) -> None:
        self.reader_id = reader_id
        self.key_id = self.role = None
        self.pos: str | None = None
        self.start: Start | None = None
        self.is_here = False
        self.shown: list[int] = []
        self.pushed: list[int] = []
        self._stored = stored

    def push(self, frame: bytes) -> None:
        if not self.is_here:
            return
        said = msgspec.json.decode(payload_of(frame))
        self.pos = said["pos"]
        if said["type"] == "reset":
            self.load()
        else:
            self.pushed.append(said["seq"])
            self.shown.append(said["seq"])

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        raise AssertionError("the hub closes nothing")

    def load(self) -> None:
        """By REST: all that is stored for it by now."""
        self.shown = self._stored[:]


class World:
    """A hub whose writer never pauses, and its clients."""

    def __init__(self, choose: Callable[[int], int], *, most: int) -> None:
        self._choose = choose
        self._numbers = itertools.count(1)
        self._places = itertools.count(1)
        self.stored: dict[int, list[int]] = {reader: [] for reader in READERS}
        self.hub = Hub(Window(most=most, most_bytes=1 << 20), pause=self.meddle)
        self.clients = [Client(reader, self.stored[reader]) for reader in (7, 7, 9)]
        self.hub.restart(Position(EPOCH, (1, 0)), [], "start")

    def write(self) -> None:
        """Store and tell a few events, each to one of the readers or both, or by a topic."""
        batch = []
        for _ in range(1 + self._choose(3)):
            number = next(self._numbers)
            to = [(7,), (9,), (7, 9), (TOPIC,), (7, TOPIC)][self._choose(5)]
            event = Deleted(conversation_id=1, seq=number, at=0)
            batch.append(
                BusEntry((2, next(self._places)), b"%d.0" % number, Entry.of(event, to=to))
            )
            for reader in READERS:
                if reader in to or TOPIC in to:
                    self.stored[reader].append(number)
            if self._choose(4) == 0:  # twice on the bus, as after a crash
                batch.append(batch[-1]._replace(id=(2, next(self._places))))
        if self._choose(6) == 0:  # Redis lost it, and an older stream goes on at an earlier place
            self._places = itertools.count(1 + self._choose(20))
            epoch = f"{next(self._numbers):08x}"
            self.hub.restart(Position(epoch, (2, next(self._places))), [], "restarted")
        else:
            self.hub.deliver(batch)

    def meddle(self) -> None:
        """What another coroutine may do while this one waits."""
        for client in self.clients:
            match self._choose(6):
                case 0 if not client.is_here and client.start is None:
                    client.start = self.hub.begin(client.reader_id, [TOPIC], client.pos)
                case 1 if client.start is not None:
                    self.arrive(client)
                case 2 if client.is_here:
                    self.hub.leave(client)
                    client.is_here = False
                case _:
                    pass

    def arrive(self, client: Client) -> None:
        """The state is read, and then the socket joins."""
        assert client.start is not None
        if not client.start.is_recovered:
            client.load()
        client.pos = client.start.position.text
        client.is_here = True
        self.hub.join(client, client.start)
        client.start = None


@settings(max_examples=200)
@given(lot=st.randoms(use_true_random=False), most=st.sampled_from([1, 3, 1000]))
def test_a_client_that_joins_at_any_moment_is_told_everything_once_and_in_order(
    lot: random.Random, most: int
) -> None:
    """Also where the window is so small that what was missed is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "PUSHES_AT_ONCE", 1)
        world = World(lot.randrange, most=most)
        for _ in range(20):
            world.write()
            world.meddle()
        for client in world.clients:
            if not client.is_here:
                client.start = client.start or world.hub.begin(
                    client.reader_id, [TOPIC], client.pos
                )
                world.arrive(client)

    for client in world.clients:
        assert len(set(client.pushed)) == len(client.pushed)
        told = list(dict.fromkeys(client.shown))
        assert told == world.stored[client.reader_id]
