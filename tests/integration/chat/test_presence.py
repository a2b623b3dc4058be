"""Who is there, by keys in a real Redis: nodes run by hand, one look after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import create_engine

from services.chat import presence as presence_module
from services.chat import publisher as publisher_module
from services.chat.bus import Bus
from services.chat.hub import Hub
from services.chat.presence import PresenceBoard
from services.chat.publisher import Publisher
from services.chat.window import Window
from tests.conftest import MakeSettings
from tests.unit.chat.listeners import Recorder
from tidings.store.keys import HERE
from tidings.store.redis import make_redis

TOPIC = "presence:9"


class Node:
    """A hub with the board of who is there."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.hub = Hub(Window(most=10, most_bytes=1 << 20), pause=lambda: None)
        self._bus = Bus(redis, self.hub, most_kept=0, most_kept_bytes=1 << 20)
        self._publisher = Publisher(create_engine("sqlite://"), self._bus)
        self.board = PresenceBoard(redis, self.hub, self._publisher, node=name)
        self._bus.read()

    def open(self, reader_id: int) -> Recorder:
        listener = Recorder(reader_id)
        self.hub.join(listener, self.hub.begin(reader_id, [], None))
        self.board.arrived(reader_id)
        return listener

    def close(self, listener: Recorder) -> None:
        self.hub.leave(listener)
        if not self.hub.is_here(listener.reader_id):
            self.board.left(listener.reader_id)

    def watch(self, listener: Recorder) -> bool:
        self.hub.subscribe(listener, TOPIC)
        return self.board.watch(9)

    def look(self) -> None:
        """Note who came and went, and tell it."""
        self.board.look()
        self._publisher.publish()

    def hear(self) -> None:
        self._bus.read()

    def end(self) -> None:
        self._bus.close()


@pytest.fixture
def start(make_settings: MakeSettings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes of one site, where nothing waits, and who leaves has gone at once."""
    for name in ("LOOK_EVERY_S", "WRITE_EVERY_S", "GONE_AFTER_S"):
        monkeypatch.setattr(presence_module, name, 0.0)
    monkeypatch.setattr(publisher_module, "_IDLE_S", 0.001)
    redis = make_redis(make_settings(redis_url=redis_url, redis_timeout_s=30).redis)
    nodes: list[Node] = []

    def start() -> Node:
        nodes.append(Node(redis, f"node-{len(nodes)}"))
        return nodes[-1]

    yield start
    for node in nodes:
        node.end()


Start = Callable[[], Node]


def heard(listener: Recorder) -> list[bool]:
    return [said["is_here"] for said in listener.told if said["type"] == "presence"]


def test_a_reader_is_there_on_every_node_until_the_last_socket_ends(start: Start) -> None:
    one, two = start(), start()
    socket, tab = one.open(9), one.open(9)
    one.look()
    during = two.board.who_is_here([7, 9])
    one.close(socket)
    one.look()
    still = two.board.who_is_here([7, 9])
    one.close(tab)
    one.look()

    assert during == still == {9}
    assert two.board.who_is_here([7, 9]) == frozenset()
    assert two.board.who_is_here([]) == frozenset()


def test_those_who_follow_a_reader_are_told_of_each_coming_and_going(start: Start) -> None:
    one, two = start(), start()
    watcher = two.open(7)
    assert two.watch(watcher) is False
    for _ in range(2):
        socket = one.open(9)
        one.look()
        two.hear()
        one.close(socket)
        one.look()
        two.hear()

    assert heard(watcher) == [True, False, True, False]


def test_a_page_that_is_loaded_anew_neither_went_nor_came(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "GONE_AFTER_S", 60)
    one, two = start(), start()
    watcher = two.open(7)
    socket = one.open(9)
    one.look()
    assert two.watch(watcher) is True
    one.close(socket)
    one.look()
    one.open(9)
    one.look()
    two.hear()

    assert heard(watcher) == []


def test_a_reader_who_went_over_to_another_node_is_still_there(start: Start) -> None:
    one, two = start(), start()
    socket = one.open(9)
    one.look()
    two.open(9)
    two.look()
    one.close(socket)
    one.look()

    assert two.board.who_is_here([9]) == {9}


def test_of_a_node_that_died_others_find_out_and_tell(start: Start, redis_client: Redis) -> None:
    one, two = start(), start()
    watcher = two.open(7)
    one.open(9)
    one.look()
    assert two.watch(watcher) is True
    redis_client.delete(HERE.of(9))  # its time is over, and nothing has written it anew
    two.look()
    two.look()

    assert heard(watcher) == [False]


def test_what_is_known_of_a_reader_ends_by_itself(start: Start, redis_client: Redis) -> None:
    one = start()
    one.open(9)
    one.look()
    left_s: Any = redis_client.ttl(HERE.of(9))

    assert 0 < left_s <= HERE.ttl_s
