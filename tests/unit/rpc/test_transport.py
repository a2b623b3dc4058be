"""One socket, whose waits all end at one moment; with the kernel's time-outs, and with those of
other sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.transport.TTransport import TTransportException

from tidings.rpc.wire.transport import SocketTransport

LIMIT_BYTES = 100_000
PATIENCE_S = 60


class Foreign:
    """A socket that is not the interpreter's own, as under gevent: its time-outs are not the
    kernel's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.waits_s: list[float | None] = []

    def settimeout(self, wait_s: float | None) -> None:
        self.waits_s.append(wait_s)
        self._sock.settimeout(wait_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture(params=["kernel", "foreign"])
def transport(
    request: pytest.FixtureRequest, pair: tuple[socket.socket, socket.socket]
) -> SocketTransport:
    sock: Any = pair[0] if request.param == "kernel" else Foreign(pair[0])
    made = SocketTransport(sock, LIMIT_BYTES)
    made.begin_message(time.monotonic() + PATIENCE_S)
    return made


@pytest.fixture
def peer(pair: tuple[socket.socket, socket.socket]) -> socket.socket:
    return pair[1]


def _type_of_failure(action: Any, *arguments: Any) -> int:
    with pytest.raises(TTransportException) as caught:
        action(*arguments)
    kind: int = caught.value.type
    return kind


def test_reading_all_gathers_what_comes_in_pieces(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """And leaves the rest for the next."""

    def write() -> None:
        for _ in range(50):
            peer.sendall(b"x" * 1000)

    writer = threading.Thread(target=write)
    writer.start()

    assert transport.readAll(0) == b""
    assert transport.readAll(49_990) == b"x" * 49_990
    assert transport.readAll(10) == b"x" * 10
    writer.join()


def test_all_waits_end_at_one_moment(transport: SocketTransport, peer: socket.socket) -> None:
    """Trap: a time-out that starts anew with every byte. Here bytes keep coming, and the message
    still ends."""
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.005):
            peer.sendall(b"x")

    writer = threading.Thread(target=trickle)
    writer.start()
    transport.begin_message(time.monotonic() + 0.05)
    try:
        assert _type_of_failure(transport.readAll, 5000) == TTransportException.TIMED_OUT
    finally:
        done.set()
        writer.join()


def test_after_the_moment_nothing_is_waited_for(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """Not even for bytes that are there already."""
    peer.sendall(b"x")
    transport.begin_message(time.monotonic() - 1)

    assert _type_of_failure(transport.readAll, 1) == TTransportException.TIMED_OUT


def test_a_write_nobody_reads_times_out(transport: SocketTransport) -> None:
    """What the kernel took before that is told: it may have been read. On a busy machine the first
    deadlines may pass before there was time to begin."""
    message = b"x" * 10_000_000
    for within_s in (0.1, 1, 10, 100):
        transport.begin_message(time.monotonic() + within_s)
        assert _type_of_failure(transport.write, message) == TTransportException.TIMED_OUT
        if transport.sent_bytes:
            break

    assert 0 < transport.sent_bytes < 10_000_000


def test_a_write_to_a_closed_peer_sends_nothing(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """So that the call may be made again elsewhere."""
    peer.close()

    assert _type_of_failure(transport.write, b"x") == TTransportException.UNKNOWN
    assert transport.sent_bytes == 0


def test_a_large_write_arrives_whole(transport: SocketTransport, peer: socket.socket) -> None:
    """In as many pieces as the kernel takes."""
    received: list[bytes] = []

    def drain() -> None:
        while data := peer.recv(65536):
            received.append(data)

    reader = threading.Thread(target=drain)
    reader.start()
    data = bytes(range(256)) * 8000
    transport.write(data)
    transport.close()
    reader.join()

    assert b"".join(received) == data
    assert transport.sent_bytes == len(data)


@pytest.mark.parametrize("length", [-1, LIMIT_BYTES + 1, 2**31 - 1])
def test_a_length_beyond_the_limit_is_refused_before_it_is_read(
    transport: SocketTransport, length: int
) -> None:
    """Trap: 281 MB were read, and copied, before anybody looked."""
    assert _type_of_failure(transport.readAll, length) == TTransportException.SIZE_LIMIT


def test_a_message_of_many_parts_is_limited_too(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """What has no frame has no declared length; each new message starts from nothing."""

    def write() -> None:
        with suppress(OSError):  # in the end the rest is not wanted
            peer.sendall(b"x" * (3 * LIMIT_BYTES))

    writer = threading.Thread(target=write)
    writer.start()
    transport.readAll(LIMIT_BYTES)
    transport.begin_message(time.monotonic() + PATIENCE_S)
    transport.readAll(LIMIT_BYTES)

    assert _type_of_failure(transport.readAll, 100) == TTransportException.SIZE_LIMIT
    transport.begin_message(time.monotonic() + PATIENCE_S)
    transport.readAll(LIMIT_BYTES // 2)
    peer.shutdown(socket.SHUT_RDWR)
    writer.join()


def test_waiting_for_a_message(transport: SocketTransport, peer: socket.socket) -> None:
    """True when its first byte has come, false for silence and for the end."""
    assert not transport.await_message(0.01)
    peer.sendall(b"x")
    assert transport.await_message(PATIENCE_S)
    assert transport.await_message(PATIENCE_S), "the byte is still there"
    assert transport.readAll(1) == b"x"
    peer.close()
    assert not transport.await_message(PATIENCE_S)


def test_what_has_come_is_not_silence(transport: SocketTransport, peer: socket.socket) -> None:
    """Trap: a process that stood still for the whole time closed the connection as idle, with a
    request in it."""
    peer.sendall(b"x")

    assert transport.await_message(0)
    assert transport.readAll(1) == b"x"
    assert not transport.await_message(0)


def test_quiet_is_neither_closed_nor_readable(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """All that a connection may be that waits for its next call."""
    assert transport.is_quiet()
    peer.sendall(b"xy")
    assert not transport.is_quiet(), "unread in the kernel"
    transport.readAll(1)
    assert not transport.is_quiet(), "unread in the buffer"
    transport.readAll(1)
    assert transport.is_quiet()
    peer.close()
    assert not transport.is_quiet(), "closed"


def test_the_end_of_reading_lets_what_has_arrived_be_read(
    transport: SocketTransport, peer: socket.socket
) -> None:
    """And a reply be written: a drain asks for no more, and loses nothing."""
    peer.sendall(b"x")
    transport.stop_reading()

    assert transport.readAll(1) == b"x"
    assert not transport.await_message(PATIENCE_S)
    transport.write(b"y")
    assert peer.recv(1) == b"y"


def test_an_abort_wakes_who_waits(transport: SocketTransport) -> None:
    """From another thread, as at the end of a drain."""
    woken = threading.Event()

    def wait() -> None:
        transport.await_message(PATIENCE_S)
        woken.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    transport.abort()

    assert woken.wait(PATIENCE_S / 2)
    waiting.join()


def test_the_kernels_timeouts_cost_no_poll(pair: tuple[socket.socket, socket.socket]) -> None:
    """Trap: `settimeout` puts a poll before each recv and send. Ours stays a blocking socket;
    another's does not."""
    pair[1].sendall(b"x")
    SocketTransport(pair[0], LIMIT_BYTES).await_message(1000)
    assert pair[0].gettimeout() is None

    foreign: Any = Foreign(pair[0])
    pair[1].sendall(b"x")
    SocketTransport(foreign, LIMIT_BYTES).await_message(1000)
    forever, wait_s = foreign.waits_s
    assert forever is None
    assert wait_s == pytest.approx(1000, abs=500)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_bytes_come_out_as_they_went_in(parts: list[bytes]) -> None:
    """However they are cut."""
    one, other = socket.socketpair()
    with one, other:
        reader, writer = SocketTransport(one, LIMIT_BYTES), SocketTransport(other, LIMIT_BYTES)
        for transport in (reader, writer):
            transport.begin_message(time.monotonic() + PATIENCE_S)
        writer.write(b"".join(parts))
        assert [reader.readAll(len(part)) for part in parts] == parts
