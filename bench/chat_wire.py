"""WebSocket frames as a crowd of ten thousand writes and reads them, and the dialects that the
servers of the benchmark speak inside.

A client library keeps a protocol object, a task and several queues for each connection: it would
take more of the machine than the server that is measured. Here a connection is a socket and the
bytes that are left over.

    list(frames(b"\x81\x02hi"))  # [(1, 2, 4)]: opcode, and where the payload begins and ends
"""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Iterator
from dataclasses import dataclass

OPEN_FILES = 65_536
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
# Its answer is not looked at, so that any key will do.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# A mask of zeros is a mask; servers unmask all the same.
MASK = bytes(4)
TOPIC = "article:42"


def allow_files() -> int:
    """As many open files as the system lets this process have, up to `OPEN_FILES`; returns how
    many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def upgrade(path: str, port: int) -> bytes:
    """The request that opens a WebSocket; no compression is offered."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join((*lines, "", "")).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One frame from a client."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + MASK + payload
    return bytes((0x80 | opcode, 0x80 | 126)) + struct.pack("!H", size) + MASK + payload


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each whole frame from a server: its opcode, and where its payload begins and ends."""
    start, have = 0, len(data)
    while have - start >= 2:
        size, begin = data[start + 1], start + 2
        if size == 126:
            begin += 2
            size = int.from_bytes(data[start + 2 : begin])
        elif size == 127:
            begin += 8
            size = int.from_bytes(data[start + 2 : begin])
        end = begin + size
        if end > have or begin > have:
            return
        yield data[start] & 0x0F, begin, end
        start = end


@dataclass(frozen=True, slots=True)
class Plain:
    """JSON with a type, as the small servers here speak it."""

    path: str = "/ws"

    def hello(self, number: int) -> bytes:
        return json.dumps({"type": "hello", "number": number}).encode()

    def answer(self, _number: int, payload: bytes) -> bytes | None:
        """What a client says to this while it joins; empty bytes if it is there now."""
        return b"" if b"welcome" in payload else None

    def pong(self, _payload: bytes) -> bytes:
        """What keeps a connection alive beside WebSocket's own pings."""
        return b""

    def send(self, to: int | str, marker: str, body: str) -> bytes:
        return json.dumps({"type": "send", "to": to, "cid": marker, "body": body}).encode()


@dataclass(frozen=True, slots=True)
class SocketIo:
    """Socket.IO 5 in Engine.IO 4, over WebSocket from the start."""

    path: str = "/socket.io/?EIO=4&transport=websocket"

    def hello(self, _number: int) -> bytes:
        """The server speaks first."""
        return b""

    def answer(self, number: int, payload: bytes) -> bytes | None:
        """What a client says to this while it joins; empty bytes if it is there now."""
        if payload.startswith(b"0{"):
            return b"40"
        if payload.startswith(b"40"):
            return b"42" + json.dumps(["hello", number]).encode()
        return b"" if b"welcome" in payload else None

    def pong(self, payload: bytes) -> bytes:
        """What keeps a connection alive beside WebSocket's own pings."""
        return b"3" if payload == b"2" else b""

    def send(self, to: int | str, marker: str, body: str) -> bytes:
        return b"42" + json.dumps(["send", {"to": to, "cid": marker, "body": body}]).encode()
