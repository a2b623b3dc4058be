"""A WebSocket client that can break every rule: frames byte by byte over a plain socket.

No library sends an unmasked frame or half a handshake.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
ANSWER_TIMEOUT_S = 30
RECEIVE_BUFFER_BYTES = 64 * 1024
_MASK = bytes((1, 2, 3, 4))


def request(line: str = "GET /ws HTTP/1.1", **changed: str | None) -> bytes:
    """A handshake; `Origin="https://…"` adds a header or changes one, None takes it out, and `_`
    stands for `-`."""
    headers: dict[str, str | None] = {**HANDSHAKE}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join((line, *lines, "", "")).encode()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: int = 1,
    reserved: int = 0,
    masked: int = 1,
    length: int | None = None,
) -> bytes:
    """One frame.

    Args:
        length: as it is told, where that is not how long the payload is.
    """
    said = len(payload) if length is None else length
    head = bytes([final << 7 | reserved << 4 | opcode])
    if said < 126:
        head += bytes([masked << 7 | said])
    elif said < 2**16:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", said)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", said)
    if not masked:
        return head + payload
    hidden = bytes(byte ^ _MASK[number % 4] for number, byte in enumerate(payload))
    return head + _MASK + hidden


def text(message: Mapping[str, Any]) -> bytes:
    """A message in one frame."""
    return frame(TEXT, json.dumps(message).encode())


class RawSocket:
    """A connection, before or after its handshake."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._read = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def shake_hands(self, **changed: str) -> str:
        """The head of the answer to a handshake."""
        self.send(request(**changed))
        return self.read_head()

    def read_head(self) -> str:
        while b"\r\n\r\n" not in self._read:
            self._fill()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head.decode()

    def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame.

        Raises:
            EOFError: the connection has ended.
        """
        opcode, length = self._take(2)
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return opcode & 0x0F, self._take(length)

    def read_message(self) -> dict[str, Any]:
        """The next text message; a server asks at any moment whether its client is there."""
        while (got := self.read_frame()) == (PING, b""):
            pass
        opcode, payload = got
        assert opcode == TEXT, (opcode, payload)
        message: dict[str, Any] = json.loads(payload)
        return message

    def read_close(self) -> int | None:
        """The code of the server's close, after all that it said before; None if it ended
        without one."""
        try:
            while True:
                opcode, payload = self.read_frame()
                if opcode == CLOSE:
                    return int(struct.unpack("!H", payload[:2])[0])
        except (EOFError, ConnectionResetError):
            return None

    def has_ended(self) -> bool:
        """True once the server has closed, after all that it sent."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            self._fill()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def _fill(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self._read += data


@contextmanager
def connect_raw(port: int) -> Iterator[RawSocket]:
    """A connection on which nothing was said yet."""
    with socket.socket() as sock:
        # Or the kernel would take in megabytes for a client that does not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.settimeout(ANSWER_TIMEOUT_S)
        sock.connect(("127.0.0.1", port))
        yield RawSocket(sock)


@contextmanager
def say_hello(port: int, ticket: str) -> Iterator[RawSocket]:
    """A socket whose reader was welcomed."""
    with connect_raw(port) as raw:
        head = raw.shake_hands()
        assert head.startswith("HTTP/1.1 101"), head
        raw.send(text({"type": "hello", "ticket": ticket}))
        assert raw.read_message()["type"] == "welcome"
        yield raw
