"""The chat while Redis or the database is away, or one of its nodes dies: what was acknowledged is
told once it can be, and sockets stay open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Connection, func, select
from websockets.exceptions import ConnectionClosed

from tests.lab.chat import ChatClient, ChatSite, closed_by, make_chat_site
from tests.lab.servers import RedisServer, start_mariadb, start_redis, wait_until
from tidings.store.engine import transaction
from tidings.talk.conversations import start_direct
from tidings.talk.history import find_messages
from tidings.talk.tables import talk_outbox

ONE, TWO = 2**52 + 1, 2**52 + 2
_cids = (f"cid-{number}" for number in count())


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture
def own(own_redis: RedisServer, tmp_path: Path) -> ChatSite:
    """A site whose Redis may be broken."""
    return make_chat_site(tmp_path, own_redis.url)


@contextmanager
def opened(site: ChatSite) -> Iterator[Connection]:
    """The site's database, in a transaction."""
    with site.open_engine() as engine, transaction(engine) as conn:
        yield conn


def start_conversation(site: ChatSite) -> int:
    with opened(site) as conn:
        return start_direct(conn, ONE, TWO).conversation_id


def count_untold(site: ChatSite) -> int:
    with opened(site) as conn:
        return conn.scalar(select(func.count()).select_from(talk_outbox)) or 0


def shown(site: ChatSite, client: ChatClient, conversation_id: int, count: int) -> list[str | None]:
    """The texts of so many messages as a page shows them: each once, in order. Where it is told
    that something may be lost, it loads what is stored."""
    found: dict[int, str | None] = {}
    while len(found) < count:
        frame = client.receive()
        if frame["type"] == "message":
            found[frame["seq"]] = frame["body"]
        elif frame["type"] == "reset":
            with opened(site) as conn:
                stored = find_messages(conn, TWO, conversation_id, limit=count)
            found |= {message.seq: message.body for message in stored}
    return [found[seq] for seq in sorted(found)]


def test_while_redis_is_away_messages_are_acknowledged_and_told_when_it_is_back(
    own: ChatSite, own_redis: RedisServer
) -> None:
    conversation_id = start_conversation(own)
    with (
        own.start_node() as node,
        own.start_node() as other,
        ChatClient(node.url, own.ticket(ONE)) as here,
        ChatClient(other.url, own.ticket(TWO)) as there,
    ):
        own_redis.kill()
        for number in range(3):
            here.say(conversation_id, f"text {number}", next(_cids))
        own_redis.start()
        told = shown(own, there, conversation_id, 3)

        assert told == ["text 0", "text 1", "text 2"]
        wait_until(lambda: node.is_ready() and other.is_ready(), 30, "both to be ready again")


def test_a_redis_that_was_flushed_has_clients_load_anew_and_loses_nothing_after(
    own: ChatSite, own_redis: RedisServer
) -> None:
    conversation_id = start_conversation(own)
    with own.start_node() as node, ChatClient(node.url, own.ticket(TWO)) as client:
        with Redis.from_url(own_redis.url) as redis:
            redis.flushall()
        reset = client.await_type("reset")
        with ChatClient(node.url, own.ticket(ONE)) as sender:
            sender.say(conversation_id, "after", next(_cids))
        told = client.await_type("message")

    assert reset["reason"] == "flushed"
    assert reset["pos"] != client.welcome["pos"]
    assert told["body"] == "after"
    assert told["pos"].partition(".")[0] == reset["pos"].partition(".")[0]


def test_while_redis_is_away_no_ticket_is_taken_and_the_client_comes_back(
    own: ChatSite, own_redis: RedisServer
) -> None:
    """It has said hello in time, though Redis takes longer than a client has for that."""
    with own.start_node(chat_hello_s=6, redis_timeout_s=7) as node:
        ticket = own.ticket(ONE)
        with own_redis.frozen(), ChatClient(node.url) as client:
            client.send({"type": "hello", "ticket": ticket})
            with pytest.raises(ConnectionClosed) as ex:
                client.receive()
        with ChatClient(node.url, own.ticket(ONE)) as back:
            assert back.welcome

    assert closed_by(ex.value) == 1013


def test_a_node_killed_between_its_commit_and_the_bus_loses_nothing_of_what_it_acknowledged(
    own: ChatSite, own_redis: RedisServer
) -> None:
    conversation_id = start_conversation(own)
    with (
        own.start_node() as node,
        own.start_node() as other,
        ChatClient(other.url, own.ticket(TWO)) as there,
    ):
        with ChatClient(node.url, own.ticket(ONE)) as here:
            own_redis.kill()
            assert here.say(conversation_id, "acknowledged", next(_cids))["seq"] == 1
            node.kill()
        own_redis.start()

        assert shown(own, there, conversation_id, 1) == ["acknowledged"]
        wait_until(lambda: count_untold(own) == 0, 30, "the other node to tell it")


def test_while_the_database_is_away_sockets_stay_and_a_message_sent_again_is_stored_once(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    with start_mariadb() as database:
        site = make_chat_site(tmp_path, own_redis.url, database.new_database())
        conversation_id = start_conversation(site)
        with (
            site.start_node() as node,
            ChatClient(node.url, site.ticket(ONE)) as here,
            ChatClient(node.url, site.ticket(TWO)) as there,
        ):
            database.kill()
            here.send(
                {
                    "type": "send",
                    "cid": "one",
                    "conversation_id": conversation_id,
                    "body": "Good morning",
                }
            )
            refused = here.await_type("error")
            here.send({"type": "read", "conversation_id": conversation_id, "seq": 1, "ref": "r"})
            unread = here.await_type("error")
            with ChatClient(node.url, site.ticket(ONE)) as late:
                assert "unread" not in late.welcome
                assert late.welcome["recovered"] is False
            wait_until(node.is_ready, 30, "a node that is ready without its database")
            database.start()
            seqs = [here.say(conversation_id, "Good morning", "one")["seq"] for _ in range(2)]
            told = shown(site, there, conversation_id, 1)

    assert (refused["code"], refused["cid"]) == ("unavailable", "one")
    assert refused["retry_after_ms"] > 0
    assert (unread["code"], unread["ref"]) == ("unavailable", "r")
    assert seqs == [1, 1]
    assert told == ["Good morning"]
