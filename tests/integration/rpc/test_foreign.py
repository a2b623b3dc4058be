"""Clients that speak something else: each is told so in its own words, and the operator hears who
it was."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.THeaderTransport import THeaderSubprotocolID, THeaderTransformID
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TFramedTransport

from tests.integration.rpc.conftest import Connect, Running, Serve
from tests.integration.rpc.peers import HEADERS, PATIENCE_S, dialled, request_frame
from tests.lab.servers import wait_until
from tidings.process.logs import SeldomLog
from tidings.rpc.serving import server
from tidings.rpc.wire.foreign import recognise
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest


def compressed(transport: Any) -> Any:
    protocol = THeaderProtocol(transport, HEADERS)
    protocol.trans.add_transform(THeaderTransformID.ZLIB)
    return protocol


STOCK_CLIENTS: dict[str, Callable[[TSocket], Any]] = {
    "JSON": lambda sock: TJSONProtocol(TBufferedTransport(sock)),
    "JSON in frames": lambda sock: TJSONProtocol(TFramedTransport(sock)),
    "compressed messages": compressed,
}


@pytest.mark.parametrize("dialect", STOCK_CLIENTS)
def test_a_thrift_client_of_another_dialect_gets_an_exception_that_says_so(
    serve: Serve, connect: Connect, dialect: str
) -> None:
    """Trap: it saw its connection closed, and its developer looked for the fault in the
    network."""
    running = serve()
    sock = TSocket("127.0.0.1", running.server.port)
    sock.setTimeout(PATIENCE_S * 1000)
    sock.open()
    with closing(sock), pytest.raises(TApplicationException, match="this port speaks Thrift"):
        UserRecommend.Client(STOCK_CLIENTS[dialect](sock)).user_recommend(UserRequest(user_id=1))

    assert connect(running.endpoint).call("user_recommend", UserRequest(user_id=2)).exposure == "2"


def test_a_web_client_gets_a_page_that_says_so(serve: Serve) -> None:
    with dialled(serve().endpoint) as sock:
        sock.sendall(b"GET /articles HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = _read_all(sock).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"this port speaks Thrift" in body


def test_a_tls_client_is_told_that_there_is_no_tls(serve: Serve) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with dialled(serve().endpoint) as sock, pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        context.wrap_socket(sock)


def test_another_protocol_inside_headers_is_recognised() -> None:
    """JSON in the header protocol, which no library sends by itself."""
    frame = request_frame()
    at = 4 + 10
    assert frame[at] == THeaderSubprotocolID.BINARY
    refusal = recognise(frame[:at] + b"\x01" + frame[at + 1 :])

    assert refusal is not None
    assert refusal.dialect == "another protocol in headers"
    assert b"this port speaks Thrift" in refusal.answer
    assert recognise(frame) is None


def test_the_operator_reads_once_a_second_who_it_was(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address and port of the peer; the next one in the same second, which is long here,
    is only counted."""
    monkeypatch.setattr(server, "_seldom", SeldomLog(structlog.get_logger(), every_s=3600))
    running = serve()
    with capture_logs() as lines:
        ports = [_ask_as_browser(running) for _ in range(5)]
        wait_until(lambda: not len(running.server._connections), PATIENCE_S, "the connections")
    (told,) = [line for line in lines if line["event"] == "rpc_dialect_refused"]

    assert (told["dialect"], told["left_out"]) == ("HTTP", 0)
    assert told["peer"] in {f"127.0.0.1:{port}" for port in ports}


def _ask_as_browser(running: Running) -> int:
    with dialled(running.endpoint) as sock:
        port: int = sock.getsockname()[1]
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        _read_all(sock)
    return port


def test_garbage_is_logged_with_its_sender(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_seldom", SeldomLog(structlog.get_logger()))
    with capture_logs() as lines, dialled(serve().endpoint) as sock:
        sock.sendall(bytes(range(1, 200)))
        _read_all(sock)
        mine = "{}:{}".format(*sock.getsockname())
        wait_until(lambda: any(line.get("peer") == mine for line in lines), PATIENCE_S, "the line")


def test_what_was_left_out_is_told_with_the_next_line() -> None:
    """Of each thing by itself, so that one does not hide another."""
    with capture_logs() as lines:
        seldom = SeldomLog(structlog.get_logger(), every_s=3600)
        for about in ("a", "a", "a", "b"):
            seldom.warning("failed", about=about)
        seldom._every_s, seldom._next_s = 0.0, {}
        seldom.warning("failed", about="a")

    assert [line["left_out"] for line in lines] == [0, 0, 2]


def _read_all(sock: socket.socket) -> bytes:
    received = b""
    try:
        while data := sock.recv(4096):
            received += data
    except ConnectionError:
        pass
    return received
