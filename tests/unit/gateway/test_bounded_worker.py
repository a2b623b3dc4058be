"""What a process cannot be made to show from outside: a defect of ours while it serves others."""

from __future__ import annotations

import selectors
import socket
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
import structlog

from gateway.serving import bounded_worker
from gateway.serving.bounded_worker import BoundedWorker
from gateway.serving.connection import Connection, State
from gateway.serving.connections import Connections


def test_a_defect_that_one_connection_shows_ends_that_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = BoundedWorker.__new__(BoundedWorker)
    with selectors.DefaultSelector() as selector:
        worker._connections = Connections(selector)
        client, server = socket.socketpair()
        other, other_server = socket.socketpair()
        for sock in (server, other_server):
            conn = Connection(sock, "", "", max_body_bytes=100)
            conn.listener = partial(worker._on_event, conn)
            worker._connections.add(conn)
            worker._connections.stand(conn, State.IDLE, give_up_s=0.0)

        def fail(_worker: object, conn: Connection) -> None:
            raise ZeroDivisionError(conn.state)

        monkeypatch.setattr(BoundedWorker, "_serve", fail)
        client.sendall(b"x")
        with structlog.testing.capture_logs() as lines:
            for key, _ in selector.select(0):
                key.data(key.fileobj)

        assert [line["event"] for line in lines if line["log_level"] == "error"] == [
            "connection_lost"
        ]
        assert worker._connections.count == 1
        assert list(selector.get_map()) == [other_server.fileno()]
        for sock in (client, other, other_server):
            sock.close()


def test_a_request_that_a_defect_loses_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left at work for ever, it would hold its place, and its address's, until there is none."""
    worker = BoundedWorker.__new__(BoundedWorker)
    worker.method_queue = MagicMock()
    with selectors.DefaultSelector() as selector:
        worker._connections = Connections(selector)
        worker._looked_s = 0.0
        client, server = socket.socketpair()
        conn = Connection(server, "", "", max_body_bytes=100)
        conn.listener = partial(worker._on_event, conn)
        worker._connections.add(conn)
        worker._connections.stand(conn, State.AT_WORK, give_up_s=0.0)
        monkeypatch.setattr(BoundedWorker, "_work_out", MagicMock(side_effect=ZeroDivisionError))

        with pytest.raises(ZeroDivisionError):
            worker._work_on(conn)
        ((after, given_back),) = [call.args for call in worker.method_queue.defer.call_args_list]
        after(given_back)

        assert given_back is conn
        assert conn.state is State.LEAVING
        assert client.recv(1) == b""
        worker._connections.close(conn)
        client.close()


def test_what_came_while_the_process_stood_still_is_read_before_its_client_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python's selectors tell of nothing that came while the process was stopped for longer than
    they were to wait, and only time has passed."""
    now_s = 100.0
    monkeypatch.setattr(bounded_worker, "time", MagicMock(monotonic=lambda: now_s))
    worker = BoundedWorker.__new__(BoundedWorker)
    worker._looked_s = worker._readable_s = worker._ticked_s = now_s
    worker.alive = False
    worker.notify = MagicMock()
    worker._work = MagicMock(take_late=lambda _: ())
    client, server = socket.socketpair()

    class Stopped(selectors.DefaultSelector):
        """Its process is stopped during the first wait, and the client sends meanwhile."""

        waits = 0

        def select(self, timeout: float | None = None) -> Any:
            nonlocal now_s
            if timeout == 0 or self.waits:
                return super().select(0)
            self.waits += 1
            now_s += 60
            client.sendall(b"x")
            return []

    with Stopped() as worker.poller:
        worker._connections = Connections(worker.poller)
        conn = Connection(server, "", "", max_body_bytes=100)
        conn.listener = partial(worker._on_event, conn)
        worker._connections.add(conn)
        worker._connections.stand(conn, State.IDLE, give_up_s=now_s + 10)
        for _ in range(2):
            worker._turn()

        assert (conn.is_closed, bytes(conn.inbox)) == (False, b"x")
        worker._connections.close(conn)
        client.close()
