"""A socket from its handshake to its end, by the `websockets` client."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

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


def test_a_process_that_stops_lets_go_of_so_many_a_second(
    site: ChatSite, new_reader: NewReader
) -> None:
    """Never of all at once: who comes back at once would all come together."""
    with ExitStack() as stack:
        node = stack.enter_context(site.start_node(chat_shed_per_s=10))
        clients = [
            stack.enter_context(ChatClient(node.url, site.ticket(new_reader()))) for _ in range(40)
        ]
        began_s = time.monotonic()
        node.terminate()
        byes = [client.await_type("bye")["retry_after_ms"] for client in clients]
        took_s = time.monotonic() - began_s
        assert not node.is_ready()
        assert node.wait() == 0

    # The first are let go at once, the last after 3.9 s.
    assert took_s > 3
    assert all(1000 <= bye <= 5000 for bye in byes)
    assert len(set(byes)) > 10


def test_a_process_that_stops_gives_no_more_sockets(site: ChatSite, new_reader: NewReader) -> None:
    with (
        site.start_node(chat_shed_per_s=1) as node,
        ChatClient(node.url, site.ticket(new_reader())) as first,
        ChatClient(node.url, site.ticket(new_reader())) as second,
    ):
        node.terminate()
        wait_until(lambda: not node.is_ready(), 30, "readiness to end")

        # Refused by an answer, by none, or by the port.
        refused = (InvalidStatus, InvalidMessage, OSError)
        with pytest.raises(refused) as ex, ChatClient(node.url):
            pass  # it does not come so far

        if isinstance(ex.value, InvalidStatus):
            assert ex.value.response.status_code == 503
        assert first.await_type("bye")
        assert second.await_type("bye")


def test_open_sockets_are_counted(site: ChatSite, node: ChatNode, new_reader: NewReader) -> None:
    def wait_for(count: int) -> None:
        wait_until(lambda: node.count("tidings_chat_sockets") == count, 10, f"{count} sockets")

    wait_for(0)  # the sockets of other tests have ended
    with ChatClient(node.url, site.ticket(new_reader())):
        wait_for(1)
    wait_for(0)
