"""The protocol as the `websockets` library sees it, and the names of its Sans-I/O side that the
chat is built on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from services.chat.closing import Closing
from tests.lab.chat import ChatClient, ChatNode, ChatSite, closed_by

NewReader = Callable[[], int]
PING = '{"type":"ping"}'
# What a reader sends with the library → the close code.
SENT: dict[str, tuple[Callable[[ChatClient], object], Closing]] = {
    "bytes": (lambda client: client.socket.send(b"\x00"), Closing.BINARY),
    "too much": (lambda client: client.socket.send("x" * 16385), Closing.TOO_BIG),
    "too much in fragments": (
        lambda client: client.socket.send(["x" * 10_000, "x" * 10_000]),
        Closing.TOO_BIG,
    ),
    "bytes as text": (lambda client: client.socket.send(b"\xff", text=True), Closing.NOT_UTF8),
    "no JSON": (lambda client: client.socket.send("hello"), Closing.BAD_FRAME),
    "a second hello": (
        lambda client: client.send({"type": "hello", "ticket": "x"}),
        Closing.BAD_FRAME,
    ),
    "a flood": (
        lambda client: list(map(client.socket.send, [PING] * 100)),
        Closing.FLOOD,
    ),
}


@pytest.mark.parametrize("what", SENT)
def test_the_library_is_told_the_code(
    what: str, site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    send, closing = SENT[what]

    with ChatClient(node.url, site.ticket(new_reader())) as client:
        with suppress(ConnectionClosed):  # a flood is ended while it is being sent
            send(client)

        with pytest.raises(ConnectionClosed) as ex:
            client.await_type("nothing of this kind")

    assert closed_by(ex.value) == closing.code


def test_a_message_in_fragments_is_one_message(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    with ChatClient(node.url, site.ticket(new_reader())) as client:
        client.socket.send([PING[:5], PING[5:9], PING[9:]])

        assert client.receive() == {"type": "pong"}


def test_a_ping_of_the_library_is_answered(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    with ChatClient(node.url, site.ticket(new_reader())) as client:
        assert client.socket.ping(b"?").wait(30)


def test_a_page_of_another_site_is_given_no_socket(node: ChatNode) -> None:
    evil = ChatClient(node.url, origin="https://evil.example")

    with pytest.raises(InvalidStatus) as ex:
        evil.__enter__()

    assert ex.value.response.status_code == 403


def test_a_page_of_the_site_is_given_one(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    with ChatClient(
        node.url, site.ticket(new_reader()), origin="http://127.0.0.1:8000", compression="deflate"
    ) as client:
        assert client.welcome
        assert client.socket.protocol.extensions == []


def names(of: Callable[..., object]) -> Iterable[str]:
    return inspect.signature(of).parameters


def test_the_names_that_the_chat_relies_on_are_there() -> None:
    """Trap: a new major version of the library renames what the session is built on."""
    protocol = ServerProtocol(origins=None, max_size=1, logger=None)

    assert {"origins", "state", "max_size", "logger"} <= set(names(ServerProtocol))
    assert list(names(protocol.accept)) == ["request"]
    assert list(names(protocol.receive_data)) == ["data"]
    assert list(names(protocol.receive_eof)) == []
    assert list(names(protocol.events_received)) == []
    assert list(names(protocol.data_to_send)) == []
    assert list(names(protocol.fail)) == ["code", "reason"]
    assert protocol.close_sent is None
    assert {"path", "headers", "method", "protocol"} <= set(names(Request))
    assert callable(Response.serialize)
