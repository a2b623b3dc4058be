"""What a reader may not do in conversations, over a socket: it is answered by an error that has a
code, the socket stays open, and no other reader is told anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.lab.chat import SECRET_KEY, ChatClient, ChatNode, ChatSite
from tests.lab.raw_websocket import connect_raw, say_hello
from tests.lab.servers import wait_until
from tidings.http.reader_id import ReaderSigner
from tidings.store.engine import transaction
from tidings.talk.conversations import start_direct, start_group

NewReader = Callable[[], int]
# Each within its burst; together more than kernel and node hold for one that does not read.
SPEAKERS, SAID_BY_EACH = 8, 15
NOTHING = {"conversations": 0, "notices": 0}


@pytest.fixture(scope="module")
def engine(site: ChatSite) -> Iterator[Engine]:
    """As another process has one."""
    with site.open_engine() as engine:
        yield engine


@pytest.fixture
def ann_and_ben(
    site: ChatSite, node: ChatNode, engine: Engine, new_reader: NewReader
) -> Iterator[tuple[ChatClient, ChatClient, int]]:
    """Two at their sockets, and their conversation, in which Ann has said one thing."""
    ann_id, ben_id = new_reader(), new_reader()
    with transaction(engine) as conn:
        conversation_id = start_direct(conn, ann_id, ben_id).conversation_id
    with (
        ChatClient(node.url, site.ticket(ann_id)) as ann,
        ChatClient(node.url, site.ticket(ben_id)) as ben,
    ):
        ann.say(conversation_id, "first", "cid-first")
        assert ben.await_type("message")["body"] == "first"
        yield ann, ben, conversation_id


def refusal(client: ChatClient, frame: dict[str, Any]) -> dict[str, Any]:
    client.send(frame)
    return client.await_type("error")


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "send", "cid": "1", "body": "let me in"},
        {"type": "edit", "seq": 1, "body": "not mine", "ref": "1"},
        {"type": "delete", "seq": 1, "ref": "1"},
        {"type": "read", "seq": 1, "ref": "1"},
    ],
    ids=lambda frame: str(frame["type"]),
)
def test_a_conversation_of_others_is_closed_to_a_stranger(
    frame: dict[str, Any],
    site: ChatSite,
    node: ChatNode,
    ann_and_ben: tuple[ChatClient, ChatClient, int],
    new_reader: NewReader,
) -> None:
    ann, ben, conversation_id = ann_and_ben

    with ChatClient(node.url, site.ticket(new_reader())) as stranger:
        error = refusal(stranger, {**frame, "conversation_id": conversation_id})
        # A node that has no time for the count leaves it out.
        assert stranger.welcome.get("unread", NOTHING) == NOTHING

    assert error["code"] == "not_a_member"
    assert error.get("ref", error.get("cid")) == "1"
    ann.say(conversation_id, "second", f"cid-{frame['type']}")
    after = ben.await_type("message")
    assert (after["seq"], after["body"]) == (2, "second")


def test_a_reader_of_a_number_that_no_column_holds_is_none_and_holds_nobody_up(
    node: ChatNode, ann_and_ben: tuple[ChatClient, ChatClient, int]
) -> None:
    """After a failure the loop that does what sockets ask for would pause, for all of them."""
    ann, _, _ = ann_and_ben

    error = refusal(ann, {"type": "subscribe", "topic": f"presence:{2**63}", "ref": "1"})

    assert (error["code"], error["ref"]) == ("invalid", "1")
    assert node.count("tidings_chat_loop_errors_total") == 0


def test_a_cid_that_comes_again_is_the_same_message(
    ann_and_ben: tuple[ChatClient, ChatClient, int],
) -> None:
    ann, ben, conversation_id = ann_and_ben

    again = ann.say(conversation_id, "first", "cid-first")
    after = ann.say(conversation_id, "second", "cid-second")

    assert (again["seq"], after["seq"]) == (1, 2)
    assert ben.await_type("message")["seq"] == 2


def test_a_cid_that_comes_again_with_another_body_is_refused(
    ann_and_ben: tuple[ChatClient, ChatClient, int],
) -> None:
    ann, _, conversation_id = ann_and_ben

    error = refusal(
        ann,
        {"type": "send", "cid": "cid-first", "conversation_id": conversation_id, "body": "other"},
    )

    assert (error["code"], error["cid"]) == ("cid_conflict", "cid-first")
    assert ann.say(conversation_id, "second", "cid-second")["seq"] == 2


@pytest.mark.parametrize("kind", ["edit", "delete", "read"])
def test_a_seq_from_the_future_is_no_message(
    kind: str, ann_and_ben: tuple[ChatClient, ChatClient, int]
) -> None:
    ann, _, conversation_id = ann_and_ben
    frame = {"type": kind, "conversation_id": conversation_id, "seq": 2**62, "ref": "later"}
    if kind == "edit":
        frame["body"] = "from the future"

    error = refusal(ann, frame)

    assert (error["code"], error["ref"]) == ("no_such_message", "later")


def test_a_stranger_who_types_is_told_to_no_member(
    site: ChatSite,
    node: ChatNode,
    ann_and_ben: tuple[ChatClient, ChatClient, int],
    new_reader: NewReader,
) -> None:
    ann, ben, conversation_id = ann_and_ben

    with ChatClient(node.url, site.ticket(new_reader())) as stranger:
        stranger.send({"type": "typing", "conversation_id": conversation_id})
        stranger.send({"type": "ping"})
        assert stranger.await_type("pong")
    ann.say(conversation_id, "second", "cid-second")

    assert ben.receive()["type"] == "message"


def test_a_reader_who_never_reads_is_cut_off_and_no_other_notices(
    site: ChatSite, node: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    """The kernel holds 128 KiB for it, its own end as much as it likes, and the node 256 KiB."""
    stalled_id, listener_id, *speaker_ids = (new_reader() for _ in range(2 + SPEAKERS))
    with transaction(engine) as conn:
        members = [listener_id, *speaker_ids]
        group = start_group(conn, stalled_id, title="all", member_ids=members)
    before = node.count("tidings_chat_closed_total", code="1013")
    body = "x" * 15_000
    heard: list[int] = []

    with ExitStack() as stack:
        stalled = stack.enter_context(say_hello(node.port, site.ticket(stalled_id)))
        listener = stack.enter_context(ChatClient(node.url, site.ticket(listener_id)))
        for speaker_id in speaker_ids:
            with ChatClient(node.url, site.ticket(speaker_id)) as speaker:
                for number in range(SAID_BY_EACH):
                    speaker.say(group.conversation_id, body, f"cid-{number}")
                    heard.append(listener.await_type("message")["seq"])

        def is_cut_off() -> bool:
            return node.count("tidings_chat_closed_total", code="1013") == before + 1

        wait_until(is_cut_off, 30, "its end")
        assert stalled.has_ended()
        wait_until(lambda: node.count("tidings_chat_slow_sockets") == 0, 30, "its queue")

    assert heard == list(range(1, SPEAKERS * SAID_BY_EACH + 1))


def test_a_stream_that_never_reads_is_cut_off_and_is_no_failure_of_the_node(
    site: ChatSite, node: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    stalled_id, *speaker_ids = (new_reader() for _ in range(1 + SPEAKERS))
    with transaction(engine) as conn:
        group = start_group(conn, stalled_id, title="all", member_ids=speaker_ids)
    signed = ReaderSigner([SECRET_KEY.encode()]).sign(stalled_id)

    with connect_raw(node.port) as stalled:
        stalled.send(f"GET /events HTTP/1.1\r\nHost: a\r\nX-Reader: {signed}\r\n\r\n".encode())
        wait_until(lambda: node.count("tidings_chat_listeners") == 1, 30, "the stream")
        for speaker_id in speaker_ids:
            with ChatClient(node.url, site.ticket(speaker_id)) as speaker:
                for number in range(SAID_BY_EACH):
                    speaker.say(group.conversation_id, "x" * 15_000, f"cid-{number}")
        wait_until(lambda: node.count("tidings_chat_listeners") == 0, 30, "its end")
        assert stalled.has_ended()

    assert "Socket error processing request" not in node.output
