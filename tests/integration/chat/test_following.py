"""Who may follow what, for how long, and in which order it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError

from services.chat.frames import MOST_TOPICS, Subscribe, Typing, Unsubscribe
from services.chat.hub import Hub
from services.chat.parts import Parts
from services.chat.positions import Position
from services.chat.window import Window
from services.chat.withdrawing import AT_ONCE, FollowSweep
from tests.lab.chat import ANSWER_TIMEOUT_S, SECRET_KEY, ChatClient, ChatNode, ChatSite
from tests.lab.servers import wait_until
from tests.lab.talk import Talk
from tests.unit.chat.listeners import Recorder
from tidings.http.reader_id import HEADER, ReaderSigner
from tidings.store.engine import transaction
from tidings.talk.blocks import block
from tidings.talk.conversations import start_group
from tidings.talk.joining import leave

NewReader = Callable[[], int]
ANN, BEN = 2**52 + 1, 2**52 + 2


@pytest.fixture
def hub() -> Hub:
    hub = Hub(Window(most=10, most_bytes=1 << 20), pause=lambda: None)
    hub.restart(Position("0123abcd", (1, 0)), [], "start")
    return hub


@pytest.fixture
def site_engine(site: ChatSite) -> Iterator[Engine]:
    """As another process has one."""
    with site.open_engine() as engine:
        yield engine


def blocks_the_friend(conn: Connection, watched: int, friend: int, group: int) -> None:
    del group
    block(conn, watched, friend)


def is_blocked_by_the_friend(conn: Connection, watched: int, friend: int, group: int) -> None:
    del group
    block(conn, friend, watched)


def leaves_the_group(conn: Connection, watched: int, friend: int, group: int) -> None:
    del friend
    leave(conn, watched, group)


def follow(hub: Hub, reader_id: int, *topics: str) -> Recorder:
    listener = Recorder(reader_id)
    hub.join(listener, hub.begin(reader_id, topics, None))
    return listener


@pytest.mark.parametrize("part", [blocks_the_friend, is_blocked_by_the_friend, leaves_the_group])
def test_a_reader_who_parts_with_another_is_followed_by_the_other_no_more(
    part: Callable[[Connection, int, int, int], None],
    site: ChatSite,
    site_engine: Engine,
    new_reader: NewReader,
) -> None:
    """Without another subscription, and those who may still follow are told."""
    watched, friend, third = (new_reader() for _ in range(3))
    with transaction(site_engine) as conn:
        both = start_group(conn, watched, title="all", member_ids=[friend]).conversation_id
        start_group(conn, watched, title="two", member_ids=[third])
    topic = {"type": "subscribe", "topic": f"presence:{watched}"}
    with site.start_node(chat_ping_every_s=0.2) as node, ExitStack() as stack:
        ben = stack.enter_context(ChatClient(node.url, site.ticket(friend)))
        eve = stack.enter_context(ChatClient(node.url, site.ticket(third)))
        for client in (ben, eve):
            client.send(topic)
            assert client.await_type("presence")["is_here"] is False
        with transaction(site_engine) as conn:
            part(conn, watched, friend, both)
        wait_until(lambda: count_withdrawn(node) == 1, 30, "the end of the subscription")
        stack.enter_context(ChatClient(node.url, site.ticket(watched)))
        while eve.receive()["type"] != "presence":
            pass
        ben.send({"type": "ping"})
        heard = [ben.receive()["type"]]
        while heard[-1] != "pong":
            heard.append(ben.receive()["type"])

        assert "presence" not in heard
        assert count_withdrawn(node) == 1


def count_withdrawn(node: ChatNode) -> float:
    return node.count("tidings_chat_withdrawn_total")


def test_of_many_who_follow_those_who_may_not_are_found(engine: Engine, hub: Hub) -> None:
    """More than one statement asks for, and topics of another kind are left alone."""
    talk = Talk(engine)
    members = list(range(BEN, BEN + AT_ONCE))
    talk.group(ANN, *members)
    following = [follow(hub, one, f"presence:{ANN}", "article:1") for one in members]
    talk.do(block, ANN, members[-1])
    stranger = follow(hub, BEN + 1000, f"presence:{ANN}", f"presence:{BEN}", "operator")
    FollowSweep(engine, hub, every_s=0).look()

    assert [hub.count_topics(one) for one in following] == [2] * (AT_ONCE - 1) + [1]
    assert hub.count_topics(stranger) == 1


def test_a_database_that_is_away_ends_no_following(hub: Hub) -> None:
    listener = follow(hub, BEN, f"presence:{ANN}")
    with pytest.raises(OperationalError):
        FollowSweep(create_engine("sqlite://"), hub, every_s=0).look()  # it has no tables

    assert hub.count_topics(listener) == 1


@pytest.mark.parametrize("last", ["withdrawn", "followed"])
def test_what_was_asked_for_last_holds_though_the_first_is_done_later(
    parts: Parts, engine: Engine, last: str
) -> None:
    """A client need not wait for an answer before it takes its wish back, or has another."""
    Talk(engine).direct(ANN, BEN)
    topic = f"presence:{BEN}"
    socket = Recorder(ANN)
    parts.talk.join(socket, None, [f"article:{number}" for number in range(1, 20)])
    parts.talk.take(socket, Subscribe(topic=topic, ref="s"))
    parts.talk.take(socket, Unsubscribe(topic=topic, ref="u"))
    if last == "followed":
        parts.talk.take(socket, Subscribe(topic=topic, ref="s2"))
    done = {"s", "u", "s2"} if last == "followed" else {"s", "u"}
    do_what_waits(parts, lambda: refs(socket) == done)
    parts.talk.take(socket, Unsubscribe(topic="article:1"))
    parts.talk.take(socket, Subscribe(topic="article:98", ref="room"))

    assert "room" in refs(socket)
    assert ("presence" in types(socket)) is (last == "followed")


def test_typing_is_answered_each_time_it_has_a_ref(parts: Parts, engine: Engine) -> None:
    """Also what is not told, since it was told a moment ago."""
    conversation_id = Talk(engine).direct(ANN, BEN)
    socket = Recorder(ANN)
    parts.talk.join(socket, None, [])
    for ref in ("one", "two"):
        parts.talk.take(socket, Typing(conversation_id=conversation_id, ref=ref))
    parts.talk.take(socket, Typing(conversation_id=conversation_id))
    do_what_waits(parts, lambda: refs(socket) == {"one", "two"})


def do_what_waits(parts: Parts, is_done: Callable[[], bool]) -> None:
    (changes,) = [watched for watched in parts.beside if watched.name == "changes-0"]
    changes.start()
    wait_until(is_done, 30, "the answers")
    changes.stop()
    changes.join(10)


def types(socket: Recorder) -> list[str]:
    return [said["type"] for said in socket.told]


def refs(socket: Recorder) -> set[str]:
    return {said["ref"] for said in socket.told if said["type"] == "ok"}


def test_a_stream_of_events_follows_as_many_topics_as_a_socket(
    node: ChatNode, new_reader: NewReader
) -> None:
    headers = {HEADER: ReaderSigner([SECRET_KEY.encode()]).sign(new_reader())}
    topics = [f"article:{number}" for number in range(1, MOST_TOPICS + 2)]
    with urlopen(ask_for_events(node, topics[1:], headers), timeout=ANSWER_TIMEOUT_S) as stream:
        assert stream.status == 200
    with pytest.raises(HTTPError) as ex:
        urlopen(ask_for_events(node, topics, headers), timeout=ANSWER_TIMEOUT_S)

    assert ex.value.code == 422
    assert "at most 20" in json.load(ex.value)["errors"]["topics"]


def ask_for_events(node: ChatNode, topics: list[str], headers: dict[str, str]) -> Request:
    return Request(f"{node.http}/events?topics={'%2C'.join(topics)}", headers=headers)
