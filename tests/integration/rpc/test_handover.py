"""Workers replace each other under clients that know nothing of it: none loses a call, or its
connection."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.integration.rpc.conftest import Connect
from tests.integration.rpc.echo_workers import SLOW
from tests.integration.rpc.masters import StartWorkers, Workers, masters
from tests.integration.rpc.peers import PATIENCE_S, dialled, request_frame
from tests.integration.rpc.stock import DIALECTS, StockClient, stock_client
from tests.lab.servers import wait_until
from tidings.process.handover import Handover
from tidings_idl.recommend.ttypes import UserRequest


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartWorkers]:
    with masters(tmp_path) as run:
        yield run


def replace_workers(workers: Workers) -> None:
    """Hang up, and wait until those that served before have ended."""
    before = workers.pids()
    workers.signal(signal.SIGHUP)
    wait_until(
        lambda: not before & workers.pids() and len(workers.pids()) == len(before),
        PATIENCE_S,
        "the next generation",
    )


def replace_workers_in_slow_call(workers: Workers) -> None:
    """The only worker is told to leave while it answers reader SLOW."""
    before = workers.pids()
    workers.wait_for_slow()
    workers.signal(signal.SIGHUP)
    wait_until(lambda: bool(workers.lines("rpc_server_retiring")), PATIENCE_S, "the successor")
    assert before < workers.pids()
    workers.end_slow()
    wait_until(lambda: not before & workers.pids(), PATIENCE_S, "the end of the first")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stock_client_under_load_loses_no_call_when_workers_are_replaced(
    start: StartWorkers, dialect: str
) -> None:
    """Trap: it has one connection and uses it without a pause, so whenever a server closes that, a
    request is in the air. The connection goes from worker to worker instead."""
    workers = start(2)
    over, failures = threading.Event(), list[Exception]()
    with ExitStack() as stack, ThreadPoolExecutor(6) as threads:
        clients = [stack.enter_context(stock_client(workers.endpoint, dialect)) for _ in range(6)]
        loads = [threads.submit(client.ask_until, over, failures) for client in clients]
        try:
            wait_until(partial(have_answered, workers.pids(), clients), PATIENCE_S, "the first")
            for _ in range(3):
                replace_workers(workers)
                # Each generation has its share, or a failure ends this.
                wait_until(
                    lambda: bool(failures) or have_answered(workers.pids(), clients),
                    PATIENCE_S,
                    "calls of this generation",
                )
        finally:
            over.set()
        for load in loads:
            load.result(PATIENCE_S)

    assert failures == []


def have_answered(generation: set[int], clients: list[StockClient]) -> bool:
    return any(pid in client.answered for pid in generation for client in clients)


def test_it_is_so_on_a_unix_socket(start: StartWorkers, tmp_path: Path) -> None:
    workers = start(1, bind=f"unix:{tmp_path}/s")
    with stock_client(workers.endpoint) as client:
        before = client.ask(1)
        replace_workers(workers)
        assert client.ask(2) != before


def test_a_replacement_takes_seconds_with_clients_that_stay(start: StartWorkers) -> None:
    """Idle connections are given on too, those that never said a word among them: a worker that
    was replaced does not wait for any of them to end."""
    workers = start(1, idle_timeout_s=60)
    host, _, port = workers.endpoint.partition(":")
    with (
        stock_client(workers.endpoint) as idle,
        socket.create_connection((host, int(port))) as silent,
    ):
        idle.ask(1)
        for user_id in (2, 3, 4):
            replace_workers(workers)
            assert idle.ask(user_id) in workers.pids()
        silent.settimeout(PATIENCE_S)
        silent.sendall(request_frame(user_id=77))
        assert b"77" in silent.recv(4096)


def test_a_call_in_flight_is_answered_by_the_worker_that_began_it(start: StartWorkers) -> None:
    """And the next one on the same connection by its successor."""
    workers = start(1)
    with stock_client(workers.endpoint) as client, ThreadPoolExecutor(1) as threads:
        before = client.ask(1)
        pending = threads.submit(client.ask, SLOW)
        replace_workers_in_slow_call(workers)
        assert pending.result(PATIENCE_S) == before
        assert client.ask(2) != before


def test_requests_that_were_read_ahead_go_along(start: StartWorkers) -> None:
    """Several requests in one packet: what the first worker read and did not answer, the second
    one does."""
    workers = start(1)
    with dialled(workers.endpoint) as sock:
        sock.sendall(request_frame(SLOW) + request_frame(41) + request_frame(42))
        replace_workers_in_slow_call(workers)
        received = b""
        while received.count(b"user_recommend") < 3:
            received += sock.recv(4096)

    assert received.index(str(SLOW).encode()) < received.index(b"41") < received.index(b"42")


def test_our_client_keeps_its_connection(start: StartWorkers, connect: Connect) -> None:
    """It is not told to leave, since it need not."""
    workers = start(1)
    client = connect(workers.endpoint, pool_size=1)
    client.call("user_recommend", UserRequest(user_id=1))
    replace_workers(workers)
    client.call("user_recommend", UserRequest(user_id=2))

    assert workers.metric("tidings_rpc_server_connections") == 1
    assert not client._balancer._endpoints[0].is_ejected()


def test_what_nobody_takes_is_refused_in_time() -> None:
    """A full queue is an error in the worker that gives, not a wait without end."""
    handover = Handover()
    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(OSError, match="read ahead"):
        handover.give(mine, bytes(100_000))
    handover.close()
