"""The server against clients that stall, lie and flood: each loses its own connection and nothing
else happens."""

from __future__ import annotations

import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TMessageType, TType
from thrift.transport.TTransport import TMemoryBuffer

from tests.integration.rpc.conftest import Connect, Running, Serve, echo
from tests.integration.rpc.peers import (
    PATIENCE_S,
    dialled,
    header_frame,
    is_closed,
    request_frame,
)
from tests.lab.servers import wait_until
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_args

CALL_HEADER = struct.pack("!Ii", 0x80010001, 14) + b"user_recommend" + struct.pack("!i", 1)
REQUEST_FIELD = bytes([TType.STRUCT]) + struct.pack("!h", 1)


def _frame(payload: bytes) -> bytes:
    return struct.pack("!i", len(payload)) + payload


def _call(arguments: bytes) -> bytes:
    return _frame(CALL_HEADER + arguments)


def _nested(depth: int) -> bytes:
    """A call with an unknown field that holds a struct that holds a struct …"""
    opening = bytes([TType.STRUCT]) + struct.pack("!h", 99)
    return _call(opening * depth + bytes(depth + 1))


GARBAGE = {
    "2 GiB frame": struct.pack("!i", 0x7FFFFFFF),
    "negative frame": struct.pack("!i", -7),
    "empty frame": _frame(b""),
    "random bytes": bytes(range(1, 200)),
    "2 GiB string": _call(
        REQUEST_FIELD + bytes([TType.STRING]) + struct.pack("!hi", 9, 0x7FFFFFFF)
    ),
    "list of 2 G structs": _call(
        REQUEST_FIELD + bytes([TType.LIST]) + struct.pack("!hbi", 9, TType.STRUCT, 0x7FFFFFFF)
    ),
    "unframed 2 GiB string": CALL_HEADER
    + REQUEST_FIELD
    + bytes([TType.STRING])
    + struct.pack("!hi", 9, 0x7FFFFFFF),
    "nested 100,000 deep": _nested(100_000),
    "a reply": header_frame("user_recommend", TMessageType.REPLY, 1, user_recommend_args()),
    "a oneway call": header_frame("user_recommend", TMessageType.ONEWAY, 1, user_recommend_args()),
    "a frame that ends inside the message": _call(REQUEST_FIELD),
    "text that is not UTF-8": _frame(
        struct.pack("!Ii", 0x80010001, 2) + b"\xff\xfe" + struct.pack("!i", 1) + b"\0"
    ),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_closes_its_own_connection(serve: Serve, connect: Connect, data: bytes) -> None:
    """Traps: declared lengths are allocated before they arrive (the stock header protocol hides the
    limits from the C codec), deep nesting crashed the codec of old versions. Others are served
    meanwhile."""
    running = serve()
    client = connect(running.endpoint)
    client.call("user_recommend", UserRequest(user_id=1))
    with dialled(running.endpoint) as sock:
        sock.sendall(data)
        assert is_closed(sock)

    assert client.call("user_recommend", UserRequest(user_id=2)).exposure == "2"
    wait_until(
        lambda: len(running.server._connections) == 1, PATIENCE_S, "the connection to be forgotten"
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(_frame),
        st.binary(max_size=300).map(_call),
        st.binary(max_size=300).map(lambda tail: _frame(struct.pack("!HHi", 0x0FFF, 0, 1) + tail)),
        st.binary(max_size=300).map(lambda tail: b"\x82\x21" + tail),
    )
)
def test_no_bytes_crash_the_server(fuzzed: Running, data: bytes) -> None:
    """Any bytes, in any dialect: an answer or a closed connection, and the next client is
    served."""
    with dialled(fuzzed.endpoint) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while _received(sock):
            pass
    with dialled(fuzzed.endpoint) as sock:
        sock.sendall(request_frame(user_id=6))
        assert b"6" in sock.recv(4096)


@pytest.fixture
def fuzzed(serve: Serve) -> Running:
    return serve()


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionError:
        return b""


def test_a_message_without_an_end_is_cut_off(serve: Serve) -> None:
    """Trap: an unframed message has no length, and a stream of unknown fields could go on for
    ever."""
    running = serve(max_frame_bytes=64 * 1024)
    field = bytes([TType.STRING]) + struct.pack("!hi", 99, 1000) + b"x" * 1000
    with dialled(running.endpoint) as sock:
        sock.sendall(CALL_HEADER)
        with pytest.raises(ConnectionError):
            _send_all(sock, itertools.repeat(field))


def test_unknown_fields_of_a_newer_client_are_skipped(serve: Serve) -> None:
    """The IDL may grow: an older server reads what it knows."""
    sink = TMemoryBuffer()
    protocol = TBinaryProtocol(sink)
    protocol.writeMessageBegin("user_recommend", TMessageType.CALL, 1)
    protocol.writeFieldBegin("context", TType.MAP, 77)
    protocol.writeMapBegin(TType.STRING, TType.I64, 1)
    protocol.writeString("experiment")
    protocol.writeI64(5)
    protocol.writeFieldBegin("request", TType.STRUCT, 1)
    UserRequest(user_id=31).write(protocol)
    protocol.writeFieldStop()
    with dialled(serve().endpoint) as sock:
        sock.sendall(_frame(sink.getvalue()))
        assert b"31" in sock.recv(4096)


def _send_all(sock: socket.socket, parts: Iterable[bytes], pause_s: float = 0) -> None:
    for part in parts:
        sock.sendall(part)
        time.sleep(pause_s)


# Slow and silent.


def test_a_silent_connection_is_closed(serve: Serve) -> None:
    """Trap: accepted sockets wait for ever, each with its thread. A slow handler is not
    idleness."""
    entered, release = threading.Event(), threading.Event()

    def slow(request: UserRequest) -> ArticleResponse:
        entered.set()
        release.wait(PATIENCE_S)
        return echo(request)

    listener = socket.create_server(("127.0.0.1", 0))
    with ExitStack() as stack:
        busy = stack.enter_context(dialled("{}:{}".format(*listener.getsockname())))
        # Before the server begins, so that this one is never silent.
        busy.sendall(request_frame(user_id=5))
        running = serve(slow, bind=listener, idle_timeout_s=0.05)
        assert entered.wait(PATIENCE_S)
        idle = [stack.enter_context(dialled(running.endpoint)) for _ in range(20)]
        assert all(is_closed(sock) for sock in idle)
        release.set()
        assert b"5" in busy.recv(4096)


@pytest.mark.parametrize("part", [1, 3, 20])
def test_a_message_that_does_not_end_is_not_waited_for(serve: Serve, part: int) -> None:
    """Trap (slowloris): half a request and then silence holds a thread for ever."""
    with dialled(serve(io_timeout_s=0.05).endpoint) as sock:
        sock.sendall(request_frame()[:part])
        assert is_closed(sock)


def test_a_message_that_trickles_in_is_cut_off(serve: Serve) -> None:
    """Trap: a byte now and then starts each `recv`'s time-out anew."""
    frame = request_frame(headers={b"padding": b"x" * 5000})
    with dialled(serve(io_timeout_s=0.1).endpoint) as sock, pytest.raises(ConnectionError):
        _send_all(sock, (bytes([byte]) for byte in frame), pause_s=0.01)  # 50 s for all of it


def test_a_client_that_never_reads_holds_no_thread(serve: Serve) -> None:
    """Trap: a reply that does not fit into the kernel's buffers blocks in `send` for ever."""
    asked = threading.Event()

    def recommend(_: UserRequest) -> ArticleResponse:
        asked.set()
        return ArticleResponse(exposure="x" * 900_000, recommends=[])

    running = serve(recommend, io_timeout_s=0.05)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", running.server.port))
        sock.sendall(request_frame() * 8)
        assert asked.wait(PATIENCE_S)
        wait_until(
            lambda: not running.server._connections, PATIENCE_S, "the connection to be given up"
        )


def test_clients_that_reset_leave_nothing_behind(serve: Serve, connect: Connect) -> None:
    """RST before, during and after a request."""
    running = serve()
    threads = threading.active_count()
    for part in (0, 10, None):
        for _ in range(20):
            with dialled(running.endpoint) as sock:
                sock.sendall(request_frame()[:part])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    wait_until(
        lambda: not running.server._connections, PATIENCE_S, "the connections to be forgotten"
    )
    wait_until(lambda: threading.active_count() <= threads, PATIENCE_S, "their threads to end")
    assert connect(running.endpoint).call("user_recommend", UserRequest(user_id=2)).exposure == "2"


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    """Several requests in one packet, which no client of ours sends."""
    with dialled(serve().endpoint) as sock:
        sock.sendall(b"".join(request_frame(user_id) for user_id in (41, 42, 43)))
        received = b""
        while received.count(b"user_recommend") < 3:
            received += sock.recv(4096)
    assert re.findall(rb"4[123]", received) == [b"41", b"42", b"43"]
