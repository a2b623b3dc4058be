"""The editors' desk as readers meet it: at a socket of a real node, with a real recommender, and
with one that never answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from tests.conftest import MakeSettings
from tests.integration.recommender.serving import READER, publish_fifty, serve
from tests.lab.chat import ChatClient, ChatNode, ChatSite, make_chat_site
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.servers import wait_until
from tidings.process.clock import now_ms
from tidings.store.engine import database_now, transaction
from tidings.store.redis import make_redis
from tidings.store.transacting import transact
from tidings.talk.conversations import start_desk
from tidings.talk.desk import answers
from tidings.talk.history import find_messages
from tidings.talk.members import DESK_ID
from tidings.talk.tables import desk_question

PATIENCE_S = 60
_cids = (f"cid-{number}" for number in count())


@pytest.fixture
def site(redis_url: str, database_url: str, tmp_path: Path) -> ChatSite:
    return make_chat_site(tmp_path, redis_url, database_url)


@pytest.fixture
def desk(engine: Engine, site: ChatSite) -> int:
    """The reader's conversation with the desk."""
    return transact(engine, lambda conn: start_desk(conn, READER)).conversation_id


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a recommender that takes a call and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def ask(chat: ChatClient, desk: int, body: str) -> None:
    chat.say(desk, body, next(_cids))


def ask_until_told(chat: ChatClient, desk: int, body: str) -> str:
    """The answer, after an apology or more where the recommender was held up."""
    while True:
        ask(chat, desk, body)
        told = hear(chat)
        if told not in (answers.tell("en", "away"), answers.tell("zh", "away")):
            return told


def hear(chat: ChatClient) -> str:
    """What the desk says next."""
    while True:
        frame = chat.await_type("message")
        if frame["sender_id"] == DESK_ID:
            return str(frame["body"])


def answered(engine: Engine, desk: int) -> list[str | None]:
    with engine.connect() as conn:
        found = find_messages(conn, READER, desk, after=0)
    return [message.body for message in found if message.sender_id == DESK_ID]


def test_a_reader_asks_and_the_recommender_answers(
    engine: Engine,
    redis_url: str,
    database_url: str,
    make_settings: MakeSettings,
    site: ChatSite,
    desk: int,
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url)
    clock = Clock(now_ms())
    Newsroom(engine, clock).channels(1, 2)
    with make_redis(settings.redis) as redis, serve(settings, engine, redis, clock) as recommender:
        publish_fifty(recommender)
        address = f"127.0.0.1:{recommender.server.port}"
        with (
            site.start_node(recommender_endpoints=address) as node,
            ChatClient(node.url, site.ticket(READER)) as chat,
        ):
            told = ask_until_told(chat, desk, "what is new in channel 1")
            heading, *lines = told.splitlines()
            assert heading == "New in Channel 1:"
            assert len(lines) == 5
            why = ask_until_told(chat, desk, "为什么给我看这个")
            assert why.startswith(f"给你看 {lines[0]}，是因为")
            assert ask_until_told(chat, desk, "my orders") == "You have no orders."


def test_a_recommender_that_never_answers_holds_up_no_socket_and_is_apologised_for(
    engine: Engine, mute: str, site: ChatSite, desk: int
) -> None:
    with (
        site.start_node(recommender_endpoints=mute) as node,
        ChatClient(node.url, site.ticket(READER)) as chat,
    ):
        # Once is enough: a machine that is busy may take longer for a pong than the call may.
        firsts = [_is_ponged_first(chat, desk, "有什么新的" + "？" * n) for n in range(3)]
    assert any(firsts)
    assert answered(engine, desk) == [answers.tell("zh", "away")] * 3


def test_a_node_that_is_killed_while_it_asks_leaves_the_question_to_another(
    engine: Engine, mute: str, site: ChatSite, desk: int
) -> None:
    with (
        site.start_node(recommender_endpoints=mute) as first,
        ChatClient(first.url, site.ticket(READER)) as chat,
    ):

        def is_stopped_while_it_asks() -> bool:
            """Or it has apologised by now, for a call takes two seconds and no longer."""
            ask(chat, desk, "news")
            wait_until(lambda: _is_busy(first) or not _is_owed(engine), PATIENCE_S, "the desk")
            first.worker.suspend()
            is_asking = _is_owed(engine)
            if is_asking:
                first.kill()
            else:
                first.worker.resume()
            return is_asking

        wait_until(is_stopped_while_it_asks, PATIENCE_S, "a question that is not answered")
    before = answered(engine, desk)
    with transaction(engine) as conn:
        assert len(conn.execute(select(desk_question)).all()) == 1
        # As if the fifteen seconds for which it was the first node's were over.
        conn.execute(update(desk_question).values(taken_until=database_now(conn)))
    with site.start_node(recommender_endpoints="127.0.0.1:1"):
        wait_until(lambda: bool(answered(engine, desk)), PATIENCE_S, "an answer")
        wait_until(lambda: not _is_owed(engine), PATIENCE_S, "nothing to be owed")
    assert answered(engine, desk) == [*before, answers.tell("en", "away")]


def _is_ponged_first(chat: ChatClient, desk: int, body: str) -> bool:
    """Ask, ping, and wait for both answers: which of them was first."""
    ask(chat, desk, body)
    chat.send({"type": "ping"})
    kinds: list[str] = []
    while len(kinds) < 2:
        frame = chat.await_type("pong", "message")
        if frame["type"] == "pong" or frame["sender_id"] == DESK_ID:
            kinds.append(frame["type"])
    return kinds == ["pong", "message"]


def _is_busy(node: ChatNode) -> bool:
    return node.count("tidings_chat_desk_busy") == 1


def _is_owed(engine: Engine) -> bool:
    with engine.connect() as conn:
        return conn.execute(select(desk_question)).first() is not None
