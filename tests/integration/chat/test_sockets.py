"""A socket from its handshake to its end, by the `websockets` client."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed

from tests.lab.chat import ChatClient, ChatNode, ChatSite, closed_by
from tests.lab.servers import wait_until

NewReader = Callable[[], int]


def test_a_reader_with_a_ticket_is_welcome(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    reader_id = new_reader()

    with ChatClient(node.url, site.ticket(reader_id)) as client:
        assert client.welcome["reader_id"] == reader_id
        client.send({"type": "ping", "ref": "here?"})
        assert client.await_type("pong") == {"type": "pong", "ref": "here?"}


def test_the_process_answers_whether_it_lives_and_may_be_given_sockets(node: ChatNode) -> None:
    assert node.get("/health/live") == (200, b'{"status":"ok"}')
    assert node.get("/health/ready") == (200, b'{"status":"ok"}')


def test_a_sixth_socket_of_a_reader_closes_the_oldest(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    reader_id = new_reader()
    clients = [ChatClient(node.url, site.ticket(reader_id)) for _ in range(6)]
    for client in clients:
        client.__enter__()

    with pytest.raises(ConnectionClosed) as ex:
        clients[0].receive()
    assert closed_by(ex.value) == 4409
    for client in clients[1:]:
        client.send({"type": "ping"})
        assert client.await_type("pong")
        client.socket.close()


def test_sigterm_says_bye_with_a_moment_to_come_back_at(
    site: ChatSite, new_reader: NewReader
) -> None:
    with site.start_node() as node, ChatClient(node.url, site.ticket(new_reader())) as client:
        node.terminate()

        assert client.await_type("bye")["retry_after_ms"] > 0
        with pytest.raises(ConnectionClosed) as ex:
            client.receive()
        assert closed_by(ex.value) == 1012
        assert node.wait() == 0


def test_open_sockets_are_counted(site: ChatSite, node: ChatNode, new_reader: NewReader) -> None:
    before = node.count("tidings_chat_sockets")

    with ChatClient(node.url, site.ticket(new_reader())):
        wait_until(lambda: node.count("tidings_chat_sockets") == before + 1, 10, "the socket")
    wait_until(lambda: node.count("tidings_chat_sockets") == before, 10, "its end")
