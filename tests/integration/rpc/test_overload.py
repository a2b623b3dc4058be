"""More than a server can do: it says no at once, and goes on with what it has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import REGISTRY
from thrift.Thrift import TMessageType

from tests.integration.rpc.conftest import Connect, Running, Serve, echo
from tests.integration.rpc.peers import PATIENCE_S, dialled, header_frame, is_closed, request_frame
from tests.lab.servers import spawn, wait_until
from tidings.rpc.errors import ServerFaultError
from tidings_idl.base.BaseService import is_healthy_args
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest


def test_over_the_connection_cap_one_is_told_so(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: each connection is a thread, without limit. Over the cap the first call gets a
    retryable 503; past the few spare threads for that, the connection is closed at once. Both are
    counted, and health is still answered."""
    monkeypatch.setattr("tidings.rpc.serving.connections.IDLE_AFTER_S", 3600)
    running = serve(max_connections=2, max_turned_away=1)
    with ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(dialled(running.endpoint))
            sock.sendall(request_frame())
            assert b"user_recommend" in sock.recv(4096)
        assert not running.server.is_ready()
        answered, closed = _counted("answered"), _counted("closed")

        with pytest.raises(ServerFaultError, match="too many connections") as caught:
            connect(running.endpoint).call("user_recommend", UserRequest())
        assert (caught.value.code, caught.value.retryable) == (503, True)
        assert _counted("answered") == answered + 1

        for probe, healthy in ((HealthProbe.READINESS, False), (HealthProbe.LIVENESS, True)):
            _wait_for_spare_thread(running)
            assert connect(running.endpoint).call("is_healthy", probe) is healthy

        _wait_for_spare_thread(running)
        stack.enter_context(dialled(running.endpoint))
        assert is_closed(stack.enter_context(dialled(running.endpoint)))
        assert _counted("closed") == closed + 1

    wait_until(running.server.is_ready, PATIENCE_S, "the server to have room again")
    assert connect(running.endpoint).call("user_recommend", UserRequest(user_id=2)).exposure == "2"


def test_a_crowd_that_says_nothing_keeps_no_client_out(serve: Serve, connect: Connect) -> None:
    """Trap: 600 connections without a word filled the server until its idle time-out, a minute
    later. A newcomer takes the place of the oldest of them."""
    running = serve(max_connections=512, idle_timeout_s=3600)
    evicted = _counted("evicted")
    with ExitStack() as stack:
        crowd = [stack.enter_context(dialled(running.endpoint)) for _ in range(600)]
        for user_id in range(1, 6):
            client = connect(running.endpoint)
            answer = client.call("user_recommend", UserRequest(user_id=user_id))
            assert answer.exposure == str(user_id)
        assert is_closed(crowd[0])
        assert _counted("evicted") - evicted >= 88 + 1

    wait_until(running.server.is_ready, PATIENCE_S, "the server to have room again")


def test_over_the_cap_the_connection_goes_that_was_used_longest_ago(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once that was a while ago. The others notice nothing."""
    monkeypatch.setattr("tidings.rpc.serving.connections.IDLE_AFTER_S", 0.2)
    running = serve(max_connections=2)
    with dialled(running.endpoint) as unused, dialled(running.endpoint) as used:
        for sock in (unused, used):
            sock.sendall(request_frame())
            assert b"user_recommend" in sock.recv(4096)
        wait_until(lambda: _longest_idle_s(running) > 0.3, PATIENCE_S, "some idleness")
        used.sendall(request_frame())
        assert b"user_recommend" in used.recv(4096)
        newcomer = connect(running.endpoint)
        assert newcomer.call("user_recommend", UserRequest(user_id=7)).exposure == "7"

        assert is_closed(unused)
        used.sendall(request_frame(user_id=9))
        assert b"9" in used.recv(4096)


def _longest_idle_s(running: Running) -> float:
    served = running.server._connections._served
    return time.monotonic() - min(client.idle_since_s for client in served)


def _wait_for_spare_thread(running: Running) -> None:
    wait_until(
        lambda: len(running.server._connections) == 2, PATIENCE_S, "the refused connection to go"
    )


def _counted(how: str) -> float:
    return (
        REGISTRY.get_sample_value("tidings_rpc_server_connections_rejected_total", {"how": how})
        or 0.0
    )


def test_over_the_in_flight_cap_a_call_is_refused_at_once(serve: Serve, connect: Connect) -> None:
    """A retryable 503 while the server is full, and an answer once it is not."""
    entered, release = threading.Semaphore(0), threading.Event()

    def slow(request: UserRequest) -> ArticleResponse:
        entered.release()
        release.wait(PATIENCE_S)
        return echo(request)

    running = serve(slow, max_in_flight=2)
    client = connect(running.endpoint)
    busy = [
        threading.Thread(target=client.call, args=("user_recommend", UserRequest()))
        for _ in range(2)
    ]
    for thread in busy:
        thread.start()
        assert entered.acquire(timeout=PATIENCE_S)

    with pytest.raises(ServerFaultError, match="too many calls") as caught:
        client.call("user_recommend", UserRequest())
    assert caught.value.retryable
    assert client.call("is_healthy", HealthProbe.READINESS) is False

    release.set()
    for thread in busy:
        thread.join()
    assert client.call("user_recommend", UserRequest(user_id=7)).exposure == "7"


# The rest of the machine.


def test_without_a_thread_to_spare_the_server_goes_on(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: "can't start new thread" leaves the accepted socket open, and no answer ever comes on
    it."""
    # For how long it says so.
    monkeypatch.setattr("tidings.rpc.serving.server._LONGEST_PAUSE_S", 3600)
    running = serve()
    real, refused = threading.Thread, []

    class Unstartable(real):  # type: ignore[valid-type, misc]
        def start(self) -> None:
            refused.append(self)
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("tidings.rpc.serving.server.threading.Thread", Unstartable)
        with dialled(running.endpoint) as sock:
            assert is_closed(sock)
    assert refused
    wait_until(
        lambda: not running.server.is_ready(),
        PATIENCE_S,
        "the server to say that it is short of something",
    )
    assert connect(running.endpoint).call("user_recommend", UserRequest(user_id=3)).exposure == "3"


CHILD = """
import resource, signal, sys
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tests.integration.rpc.conftest import Handler, echo
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import make_server
from tidings_idl.recommend import UserRecommend

def recommend(request):
    if request.user_id == 99:
        print("entered", flush=True)
        sys.stdin.readline()
    return echo(request)

options = ServerOptions(drain_window_s=0)
server = make_server(UserRecommend, Handler(recommend), "127.0.0.1:0", options=options)
signal.signal(signal.SIGTERM, lambda *_: server.drain())
soft_limit = int(sys.argv[1])
if soft_limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, soft_limit))
print(server.port, flush=True)
server.serve()
"""


class Child:
    """A server in a process of its own, which answers user 99 when told to."""

    def __init__(self, soft_limit: int = 0) -> None:
        self._process = spawn(
            [sys.executable, "-c", CHILD, str(soft_limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self.endpoint = f"127.0.0.1:{self.read_line()}"

    def read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def answer(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self) -> tuple[int, str]:
        """Its exit code and its log."""
        _, log = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, log.decode()


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    running = Child(getattr(request, "param", 0))
    yield running
    running.kill()


@pytest.mark.parametrize("child", [40], indirect=True, ids=["40 descriptors"])
def test_without_file_descriptors_the_server_waits_for_some(child: Child, connect: Connect) -> None:
    """Trap: with the table full the stock server logged 47,192 failed accepts in one second."""
    with ExitStack() as stack:
        first = stack.enter_context(dialled(child.endpoint))
        for _ in range(60):
            stack.enter_context(dialled(child.endpoint))
        # Those it has go on being served, and it is not ready for more.
        wait_until(lambda: not _is_ready(first), PATIENCE_S, "the last descriptor to be taken")
        first.sendall(request_frame(user_id=1))
        assert b"1" in first.recv(4096)
    client = connect(child.endpoint)
    assert client.call("user_recommend", UserRequest(user_id=2)).exposure == "2"
    child.terminate()

    code, log = child.wait()
    assert code == 0
    assert 1 <= log.count("rpc_accept_failed") <= 20, log


def _is_ready(sock: socket.socket) -> bool:
    sock.sendall(
        header_frame("is_healthy", TMessageType.CALL, 1, is_healthy_args(HealthProbe.READINESS))
    )
    # The reply ends with the boolean and the end of the struct.
    return sock.recv(4096)[-2:] == b"\1\0"


def test_sigterm_ends_the_process_with_0_and_its_calls_answered(child: Child) -> None:
    """Trap: SIGTERM kills the calls in flight, or `daemon=False` threads keep the process alive for
    ever."""
    with dialled(child.endpoint) as busy, dialled(child.endpoint) as idle:
        idle.sendall(request_frame(user_id=1))
        assert b"1" in idle.recv(4096)
        busy.sendall(request_frame(user_id=99))
        assert child.read_line() == "entered"
        child.terminate()
        assert is_closed(idle)
        child.answer()
        assert b"99" in busy.recv(4096)

    assert child.wait()[0] == 0
