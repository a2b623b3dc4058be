"""Any bytes are sent to the port: the server lives, keeps nothing, and every other client gets its
own answers.

A few seconds and two thousand connections; `FULL=1`: ten minutes and ten thousand.
"""

from __future__ import annotations

import os
import random
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import TFramedTransport, TMemoryBuffer

from tests.integration.rpc.bystander import bystander
from tests.integration.rpc.conftest import Connect
from tests.integration.rpc.masters import StartWorkers, Workers, masters
from tests.integration.rpc.peers import PATIENCE_S, header_frame
from tests.lab.servers import wait_until
from tidings_idl.recommend.ttypes import ReportRequest, UserRequest
from tidings_idl.recommend.UserRecommend import report_args, user_recommend_args

FULL = bool(os.environ.get("FULL"))
FUZZ_S = 600.0 if FULL else 15.0
CONNECTIONS = 10_000 if FULL else 2_000
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
BATCH = 200
GROWTH_MIB = 24

pytestmark = [pytest.mark.long, pytest.mark.timeout(FUZZ_S + 180)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartWorkers]:
    with masters(tmp_path) as run:
        yield run


# What is sent: messages that are right, and then bent.


def stock_message(user_id: int, compact: bool, framed: bool) -> bytes:
    sink = TMemoryBuffer()
    transport = TFramedTransport(sink) if framed else sink
    protocol = TCompactProtocol(transport) if compact else TBinaryProtocol(transport)
    protocol.writeMessageBegin("user_recommend", TMessageType.CALL, 1)
    user_recommend_args(UserRequest(user_id=user_id)).write(protocol)
    protocol.writeMessageEnd()
    transport.flush()
    data: bytes = sink.getvalue()
    return data


ids = st.integers(20, 2**63 - 1)
short_bytes = st.binary(max_size=40)
right = st.one_of(
    st.builds(
        lambda name, kind, seqid, user_id, headers: header_frame(
            name, kind, seqid, user_recommend_args(UserRequest(user_id=user_id)), headers
        ),
        st.sampled_from(["user_recommend", "is_healthy", "report", "nothing", ""]),
        st.integers(0, 6),
        st.integers(-(2**31), 2**31 - 1),
        ids,
        st.dictionaries(
            st.sampled_from([b"deadline-budget-ms", b"request-id", b"caller", b"x"]),
            short_bytes,
            max_size=4,
        ),
    ),
    st.builds(stock_message, ids, st.booleans(), st.booleans()),
    st.just(header_frame("report", TMessageType.CALL, 1, report_args(ReportRequest([])))),
)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A message with a few bytes changed, lengths that lie, pieces missing or said twice."""
    data = bytearray(draw(right))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                lie = draw(
                    st.sampled_from(
                        [0, 1, 0x7F, 0xFFFF, 2**20, 2**20 + 1, 2**31 - 1, 2**31, 2**32 - 1]
                    )
                )
                data[at : at + 4] = lie.to_bytes(4, "big")
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case _:
                data[at:at] = draw(short_bytes)
    return bytes(data)


conversations: SearchStrategy[list[bytes]] = st.lists(
    st.one_of(bent(), bent(), bent(), right, st.binary(max_size=600)), min_size=1, max_size=4
)


def attack(endpoint: str, pieces: list[bytes], *, leave: bool) -> None:
    """Say all of it, and then leave, or read to the end, which has to come."""
    host, port = endpoint.split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
            if not leave:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        except TimeoutError:
            raise
        except OSError:
            return  # thrown out in the middle of a word


def was_content(printed: list[str]) -> bool:
    """A bystander got the right answer to each of many calls."""
    line = printed[0] if len(printed) == 1 else ""
    return re.fullmatch(r"\d{3,} calls", line) is not None


def only_worker(workers: Workers) -> psutil.Process:
    (pid,) = workers.pids()
    return psutil.Process(pid)


def test_no_bytes_do_any_harm(start: StartWorkers) -> None:
    """No crash, no thread, socket or memory kept, no wrong answer to another client, no failure
    without a class."""
    workers = start(1)
    worker = only_worker(workers)
    with bystander(workers.endpoint) as printed:
        for number in range(300):  # so that what is made once and kept has been made
            attack(
                workers.endpoint,
                [header_frame("x", 1, number, report_args(None)), b"\xff" * 9],
                leave=False,
            )
        before_mib = worker.memory_info().rss / 2**20
        batch = 0
        ends_s = time.monotonic() + FUZZ_S
        while time.monotonic() < ends_s:
            batch += 1

            @seed(SEED + batch)
            @settings(max_examples=BATCH, database=None, suppress_health_check=list(HealthCheck))
            @given(conversations, st.integers(0, 9))
            def bombard(pieces: list[bytes], dice: int) -> None:
                attack(workers.endpoint, pieces, leave=dice == 0)

            bombard()

    assert was_content(printed), f"SEED={SEED}: {printed[:5]}"
    assert workers.pids() == {worker.pid}, f"SEED={SEED}: the worker died"
    wait_until(
        lambda: workers.metric("tidings_rpc_server_connections") == 0,
        PATIENCE_S,
        "the end of all connections",
    )
    wait_until(lambda: worker.num_threads() < 6, PATIENCE_S, "the end of their threads")
    assert not worker.net_connections("tcp") or all(
        each.status == "LISTEN" for each in worker.net_connections("tcp")
    )
    assert worker.memory_info().rss / 2**20 - before_mib < GROWTH_MIB
    assert '"unclassified"' not in workers.output()


def test_thousands_of_idle_connections_are_in_nobodys_way(
    start: StartWorkers, connect: Connect
) -> None:
    """Each costs a thread that sleeps: calls go on, and when they have gone so have their
    threads."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CONNECTIONS + 2_000)), hard))
    try:
        workers = start(1, max_connections=CONNECTIONS + 100, idle_timeout_s=300)
        worker = only_worker(workers)
        client = connect(workers.endpoint)
        with bystander(workers.endpoint) as printed:
            with ExitStack() as idle:
                host, port = workers.endpoint.split(":")
                for _ in range(CONNECTIONS):
                    idle.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
                wait_until(lambda: worker.num_threads() > CONNECTIONS, 60, "a thread for each")
                for user_id in range(500):
                    client.call("user_recommend", UserRequest(user_id=user_id + 20))
            client.close()
            wait_until(lambda: worker.num_threads() < 6, 60, "the end of their threads")
        assert was_content(printed), printed[:5]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
