"""A server's life: it listens, serves, drains and stops, and says so."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis import RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs
from structlog.typing import EventDict
from thrift.server.TServer import TThreadedServer

from tests.integration.rpc.conftest import Connect, Handler, Serve, echo
from tests.integration.rpc.peers import PATIENCE_S, dialled, is_closed, request_frame
from tests.lab.servers import wait_until
from tidings.process.errors import SettingsError
from tidings.process.logs import SeldomLog
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import ServerFaultError, TransportFaultError, unavailable
from tidings.rpc.serving import dispatch
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import Server, make_server
from tidings.rpc.wire.codec import CodecMissingError
from tidings.rpc.wire.protocol import ProtocolFactory
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest


def _make(bind: str | socket.socket = "127.0.0.1:0") -> Server:
    return make_server(UserRecommend, Handler(echo), bind, options=ServerOptions(drain_window_s=0))


def _discard(server: Server) -> None:
    server.drain()
    server.serve()


# Starting.


def test_it_is_a_threaded_server_with_everything_set() -> None:
    """Trap: `TServer` counts its arguments, and three or five of them leave it half initialised."""
    server = _make()

    assert isinstance(server, TThreadedServer)
    assert server.processor is not None
    assert isinstance(server.inputProtocolFactory, ProtocolFactory)
    assert server.inputProtocolFactory is server.outputProtocolFactory
    assert server.daemon
    _discard(server)


def test_port_0_is_told(serve: Serve) -> None:
    """Trap: without a host the stock server binds `::`. This one binds what it was given, and knows
    its port."""
    running = serve()

    assert running.server.port > 0
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", running.server.port))  # not taken: only 127.0.0.1 is


def test_a_port_in_use_is_one_clear_message(serve: Serve) -> None:
    """For one line and exit code 2, not a traceback."""
    endpoint = serve().endpoint

    with pytest.raises(SettingsError, match=f"cannot listen on {endpoint}: another program"):
        _make(endpoint)


@pytest.mark.parametrize("bind", ["localhost:0", "127.0.0.1", "9090", "unix:/nowhere/at/all/s"])
def test_what_cannot_be_bound_is_one_clear_message(bind: str) -> None:
    """A name too: what it resolves to is not for a server to guess."""
    with pytest.raises(SettingsError):
        _make(bind)


def test_a_stale_socket_file_is_replaced(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A process that was killed leaves its file behind; one that still serves keeps its own."""
    bind = f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/s")
    running = serve(bind=bind)

    with pytest.raises(SettingsError, match="another program listens there"):
        _make(bind)
    assert connect(running.endpoint).call("user_recommend", UserRequest(user_id=1)).exposure == "1"


def test_it_serves_on_a_socket_it_is_given(connect: Connect) -> None:
    """So that several processes can share one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _make(listener)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            client = connect(f"127.0.0.1:{server.port}")
            assert client.call("user_recommend", UserRequest(user_id=1)).exposure == "1"
        finally:
            server.drain()
            thread.join()


def test_who_connects_before_serve_waits_for_it(connect: Connect) -> None:
    """Nothing is lost between listening and serving, and it is not ready in between."""
    server = _make()
    assert not server.is_ready()
    with dialled(f"127.0.0.1:{server.port}") as sock:
        sock.sendall(request_frame(user_id=77))
        thread = threading.Thread(target=server.serve)
        thread.start()
        assert b"77" in sock.recv(4096)
        assert server.is_ready()
    server.drain()
    thread.join()


def test_a_missing_codec_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: Thrift falls back to pure Python without a word, 17 to 42 times slower."""
    monkeypatch.setitem(sys.modules, "thrift.protocol.fastbinary", None)
    monkeypatch.delattr("thrift.protocol.fastbinary", raising=False)

    with pytest.raises(CodecMissingError, match=r"^thrift\.protocol\.fastbinary: "):
        _make()
    with pytest.raises(CodecMissingError):
        make_client(UserRecommend, ["127.0.0.1:1"], policy=Policy(), caller="tests")


# Stopping.


class Gate:
    """A handler that waits to be let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, request: UserRequest) -> ArticleResponse:
        self.entered.set()
        self.open.wait(PATIENCE_S)
        return echo(request)


def test_a_drain_loses_no_call(serve: Serve, connect: Connect) -> None:
    """Trap: stopping kills the calls in flight. The idle are closed, the busy answered, the process
    then ends."""
    gate = Gate()
    running = serve(gate)
    client = connect(running.endpoint)
    answers: list[str] = []
    busy = threading.Thread(
        target=lambda: answers.append(
            client.call("user_recommend", UserRequest(user_id=1)).exposure
        )
    )
    with dialled(running.endpoint) as idle:
        busy.start()
        assert gate.entered.wait(PATIENCE_S)
        running.server.drain()
        assert is_closed(idle)
        assert not running.server.is_ready()
        assert running.thread.is_alive()

        gate.open.set()
        running.join()
        busy.join()
    assert answers == ["1"]


def test_a_request_that_has_arrived_is_answered_although_the_drain_began(serve: Serve) -> None:
    """Two requests in the kernel's buffer, the first in the handler, as the server is told to
    stop."""
    gate = Gate()
    running = serve(gate)
    with dialled(running.endpoint) as sock:
        sock.sendall(request_frame(user_id=51))
        assert gate.entered.wait(PATIENCE_S)
        sock.sendall(request_frame(user_id=52))
        running.server.drain()
        gate.open.set()
        received = b""
        while data := sock.recv(4096):
            received += data
    assert b"51" in received
    assert b"52" in received
    running.join()


def test_in_the_drain_window_it_serves_on_but_is_not_ready(serve: Serve, connect: Connect) -> None:
    """Clients and balancers see that it is not ready before they can see it gone."""
    running = serve(drain_window_s=3600)
    client = connect(running.endpoint)
    running.server.drain()
    wait_until(lambda: not running.server.is_ready(), PATIENCE_S, "the drain")

    assert client.call("is_healthy", HealthProbe.READINESS) is False
    assert client.call("is_healthy", HealthProbe.LIVENESS) is True
    assert client.call("user_recommend", UserRequest(user_id=5)).exposure == "5"
    running.stop()
    with pytest.raises(TransportFaultError, match="cannot connect"):
        client.call("user_recommend", UserRequest(user_id=5))


def test_a_drain_does_not_wait_for_ever(serve: Serve) -> None:
    """A call that does not end is cut off, and counted in the last line."""
    gate = Gate()
    running = serve(gate, drain_timeout_s=0.05)
    with dialled(running.endpoint) as sock, capture_logs() as logs:
        sock.sendall(request_frame())
        assert gate.entered.wait(PATIENCE_S)
        running.stop()
        assert is_closed(sock)
    assert {"event": "rpc_server_stopped", "connections_cut": 1, "log_level": "info"} in logs
    gate.open.set()
    wait_until(lambda: not running.server._connections, PATIENCE_S, "the end of its thread")


def test_drain_may_come_first_and_more_than_once() -> None:
    """A signal in the first moment, a second one in the last."""
    server = _make()
    server.drain()
    server.drain()
    server.serve()
    server.drain()


def test_each_phase_is_one_line(serve: Serve) -> None:
    """What an operator reads of a server that had nothing to do."""
    with capture_logs() as logs:
        running = serve()
        running.stop()

    assert [line["event"] for line in logs] == [
        "rpc_server_started",
        "rpc_server_draining",
        "rpc_server_stopped",
    ]


@pytest.mark.parametrize(
    ("user_id", "slow_ms", "level"), [(1, 600_000, "debug"), (1, -1, "info"), (0, 600_000, "error")]
)
def test_only_slow_and_failed_calls_make_a_line(
    serve: Serve, connect: Connect, user_id: int, slow_ms: int, level: str
) -> None:
    """Thousands of good calls a second would drown the rest; on debug each has its line."""

    def recommend(request: UserRequest) -> Any:
        if not request.user_id:
            raise ValueError("bug")
        return echo(request)

    client = connect(serve(recommend, slow_ms=slow_ms).endpoint)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        with suppress(ServerFaultError):
            client.call("user_recommend", UserRequest(user_id=user_id))
        wait_until(lambda: _of_calls(logs) != [], PATIENCE_S, "the line")

    (line,) = _of_calls(logs)
    assert line["log_level"] == level
    assert {"event", "method", "outcome", "took_ms", "request_id", "caller"} <= line.keys()


def _of_calls(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "rpc_call"]


# What a failure leaves in the log.


def test_the_cause_of_a_failure_is_logged_and_not_told(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: "the readers' histories cannot be reached just now" is all that an operator saw of a
    Redis that refused its password."""
    monkeypatch.setattr(dispatch, "_seldom", SeldomLog(structlog.get_logger(), every_s=3600))

    def recommend(_: UserRequest) -> ArticleResponse:
        raise RedisConnectionError("Error 111 connecting to 127.0.0.1:6399")

    running = serve(recommend, errors={RedisError: lambda _: unavailable("not just now")})
    client = connect(running.endpoint)
    with capture_logs() as lines:
        for _ in range(5):
            with pytest.raises(ServerFaultError, match="not just now"):
                client.call("user_recommend", UserRequest(user_id=1))
    (told,) = [line for line in lines if line["event"] == "rpc_call_failed"]

    assert told["error"] == "not just now"
    assert told["cause"] == "ConnectionError: Error 111 connecting to 127.0.0.1:6399"
    assert told["log_level"] == "warning"
