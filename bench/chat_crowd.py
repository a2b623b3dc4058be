"""A crowd of WebSocket clients in one process: up to ten thousand connections on one epoll.

It is asked by lines of JSON and answers so: `python -m bench.chat_crowd DIALECT` reads
`{"do": "connect", …}`, `{"do": "fan_out", …}` and so on; what each does is said at its method.
Moments are taken when bytes have been read from a socket, by the clock that all processes of a
machine share.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.chat_wire import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Plain,
    SocketIo,
    allow_files,
    frame,
    frames,
    upgrade,
)

DIALECTS: dict[str, Callable[[], Any]] = {"plain": Plain, "socketio": SocketIo}
# How many may be on their way into the server at once. More only wait for each other there, for
# Redis and for the database, until some of them have waited too long.
JOINING = 32
MOST_ATTEMPTS = 5
# Ports of one address end; clients of one address are counted by servers.
LINKS_PER_ADDRESS = 500
READ_BYTES = 65_536
JOIN_S = 300.0
ANSWER_S = 60.0
# What a server has sent before it closed may take a moment to follow what was read.
CLOSED_S = 3.0
BODY = "x" * 120


class Link:
    """One connection."""

    __slots__ = ("answered", "closed_s", "code", "number", "open_s", "rest", "seen_ns", "sock")

    def __init__(self, number: int) -> None:
        self.number = number
        self.sock: socket.socket | None = None
        self.rest = b""
        self.answered = False  # the upgrade was
        self.seen_ns = 0
        self.closed_s = self.open_s = 0.0  # it was seen closed, and before that not yet
        self.code = 0


class Crowd:
    """Links, and what reads them."""

    def __init__(self, dialect: Any) -> None:
        self.dialect = dialect
        self.links: list[Link] = []
        self._by_fd: dict[int, Link] = {}
        self._epoll = select.epoll()
        self._joining: set[int] = set()
        self._failed = Counter[str]()
        self._stalled: list[Link] = []
        self._looked_s = 0.0
        self._on_text: Callable[[Link, bytes, int], None] = self._ignore

    # Reading.

    def turn(self, timeout_s: float) -> None:
        """Read what has come, waiting so long for it."""
        began_s = time.monotonic()
        for fd, _ in self._epoll.poll(timeout_s, 512):
            link = self._by_fd.get(fd)
            if link is not None:
                self._read(link)
        self._looked_s = began_s

    def turn_until(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Read until it holds; False if it never did."""
        ends_s = time.monotonic() + timeout_s
        while not is_done():
            if time.monotonic() > ends_s:
                return False
            self.turn(0.01)
        return True

    def paced(self, number: int, per_s: float) -> Iterator[int]:
        """The numbers from 0 on at this rate; until the next one is due, what comes is read."""
        began_s = time.monotonic()
        for n in range(number):
            due_s = began_s + n / per_s
            while (left_s := due_s - time.monotonic()) > 0:
                self.turn(left_s)
            yield n

    def _read(self, link: Link) -> None:
        assert link.sock is not None
        try:
            data = link.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as ex:
            self._end(link, type(ex).__name__)
            return
        now_ns = time.monotonic_ns()
        if not data:
            self._end(link, "closed")
            return
        if link.rest:
            data = link.rest + data
            link.rest = b""
        if not link.answered:
            data = self._read_upgrade(link, data)
        begin = 0
        for opcode, start, end in frames(data):
            begin = end
            if opcode == TEXT:
                self._on_text(link, data[start:end], now_ns)
            elif opcode == PING:
                self.write(link, data[start:end], PONG)
            elif opcode == CLOSE:
                link.code = int.from_bytes(data[start : start + 2])
                self._end(link, f"close {link.code}")
                return
        if begin < len(data):
            link.rest = data[begin:]

    def _read_upgrade(self, link: Link, data: bytes) -> bytes:
        head, found, data = data.partition(b"\r\n\r\n")
        if not found:
            link.rest = head
            return b""
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self._failed[head.partition(b"\r\n")[0].decode(errors="replace")] += 1
            self._end(link, "refused")
            return b""
        link.answered = True
        if first := self.dialect.hello(link.number):
            self.write(link, first)
        return data

    def write(self, link: Link, payload: bytes, opcode: int = TEXT) -> None:
        """What is written here is small; a server that does not take it in is beyond measuring."""
        assert link.sock is not None
        try:
            link.sock.send(frame(payload, opcode))
        except OSError as ex:
            self._end(link, type(ex).__name__)

    def _end(self, link: Link, why: str) -> None:
        if link.sock is None:
            return
        self._by_fd.pop(link.sock.fileno(), None)
        link.sock.close()
        link.sock = None
        link.closed_s, link.open_s = time.monotonic(), self._looked_s
        self._joining.discard(link.number)
        self._failed[why] += 1

    def _ignore(self, link: Link, payload: bytes, _now_ns: int) -> None:
        if pong := self.dialect.pong(payload):
            self.write(link, pong)

    # Joining.

    def connect(self, number: int, ports: Sequence[int]) -> dict[str, Any]:
        """So many more links, by turns to these ports; returns when all have joined. One that is
        turned away comes again."""
        self._on_text = self._join
        first = len(self.links)
        self.links += [Link(n) for n in range(first, first + number)]
        began_s = time.monotonic()
        for _ in range(MOST_ATTEMPTS):
            for link in self.links[first:]:
                if link.sock is None:
                    self.open(link, ports[link.number % len(ports)])
                    self.turn_until(lambda: len(self._joining) < JOINING, JOIN_S)
            self.turn_until(lambda: not self._joining, JOIN_S)
        self._on_text = self._ignore
        failed, self._failed = self._failed, Counter()
        return {
            "joined": sum(link.sock is not None for link in self.links),
            "seconds": time.monotonic() - began_s,
            "failed": dict(failed),
        }

    def open(self, link: Link, port: int) -> None:
        """Connect, and send the upgrade."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.{1 + link.number // LINKS_PER_ADDRESS}.1", 0))
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        sock.send(upgrade(self.dialect.path, port))
        link.sock, link.rest, link.answered = sock, b"", False
        self._by_fd[sock.fileno()] = link
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._joining.add(link.number)

    def _join(self, link: Link, payload: bytes, now_ns: int) -> None:
        says = self.dialect.answer(link.number, payload)
        if says is None:
            self._ignore(link, payload, now_ns)
        elif says:
            self.write(link, says)
        else:
            self._joining.discard(link.number)

    # What is measured.

    def fan_out(self, marker: str) -> dict[str, Any]:
        """One message to all; when the half and when all of them have it."""
        want = marker.encode()
        here = [link for link in self.links if link.sock is not None]
        left = len(here)

        def see(link: Link, payload: bytes, now_ns: int) -> None:
            nonlocal left
            if want in payload:
                left -= link.seen_ns == 0
                link.seen_ns = now_ns
            else:
                self._ignore(link, payload, now_ns)

        for link in here:
            link.seen_ns = 0
        self._on_text = see
        began_ns = time.monotonic_ns()
        self.broadcast(marker, BODY)
        self.turn_until(lambda: left <= 0, ANSWER_S)
        self._on_text = self._ignore
        took_ms = sorted((link.seen_ns - began_ns) / 1e6 for link in here if link.seen_ns)
        return {
            "missing": len(here) - len(took_ms),
            "p50_ms": took_ms[len(took_ms) // 2],
            "all_ms": took_ms[-1],
        }

    def broadcast(self, marker: str, body: str) -> None:
        """One message to all, by the first of them."""
        first = next(link for link in self.links if link.sock is not None)
        self.write(first, self.dialect.send("all", marker, body))

    def stall(self, number: int) -> dict[str, Any]:
        """So many, the last ones, read nothing any more."""
        self._stalled = self.links[-number:]
        for link in self._stalled:
            assert link.sock is not None
            self._epoll.unregister(link.sock.fileno())
        return {}

    def burst(self, number: int, per_s: float, kib: int) -> dict[str, Any]:
        """So many messages of that size to all, and how late those who read have them."""
        reading = [link for link in self.links if link not in self._stalled]
        body = "x" * kib * 1024
        sent_ns: dict[bytes, int] = {}
        took_ns: list[int] = []

        def see(link: Link, payload: bytes, now_ns: int) -> None:
            at = payload.find(b'"burst-')
            if at < 0:
                self._ignore(link, payload, now_ns)
            else:
                took_ns.append(now_ns - sent_ns[payload[at + 1 : payload.index(b'"', at + 1)]])

        self._on_text = see
        for n in self.paced(number, per_s):
            marker = f"burst-{n}"
            sent_ns[marker.encode()] = time.monotonic_ns()
            self.broadcast(marker, body)
        self.turn_until(lambda: len(took_ns) >= number * len(reading), ANSWER_S)
        self._on_text = self._ignore
        took_ns.sort()
        return {
            "missing": number * len(reading) - len(took_ns),
            "p99_ms": took_ns[int(len(took_ns) * 0.99)] / 1e6 if took_ns else 0.0,
            "stalled_open": sum(_is_open(link) for link in self._stalled),
        }

    def relay(self, per_s: int, seconds: float) -> dict[str, Any]:
        """One to one at this rate, whatever becomes of the answers."""
        sent: dict[bytes, int] = {}
        took_ns: list[int] = []

        def see(link: Link, payload: bytes, now_ns: int) -> None:
            at = payload.find(b'"one-')
            if at < 0:
                self._ignore(link, payload, now_ns)
            else:
                began_ns = sent.pop(payload[at + 1 : payload.index(b'"', at + 1)], 0)
                if began_ns:
                    took_ns.append(now_ns - began_ns)

        self._on_text = see
        numbers = random.Random(7)
        pairs = len(self.links) // 2
        for n in self.paced(int(per_s * seconds), per_s):
            pair = numbers.randrange(pairs)
            marker = f"one-{n}"
            sent[marker.encode()] = time.monotonic_ns()
            self.write(self.links[2 * pair], self.dialect.send(2 * pair + 1, marker, BODY))
            self.turn(0)
        self.turn_until(lambda: not sent, 5)
        self._on_text = self._ignore
        took_ns.sort()
        return {
            "lost": len(sent),
            "p50_ms": took_ns[len(took_ns) // 2] / 1e6,
            "p99_ms": took_ns[int(len(took_ns) * 0.99)] / 1e6,
        }


def _is_open(link: Link) -> bool:
    """Whether the server has not yet closed it, behind what was not read."""
    assert link.sock is not None
    ends_s = time.monotonic() + CLOSED_S
    while True:
        try:
            if not link.sock.recv(READ_BYTES):
                return False
        except BlockingIOError:
            if time.monotonic() > ends_s:
                return True
            time.sleep(0.01)
        except OSError:
            return False


def make_crowd(dialect: str) -> Crowd:
    if dialect in DIALECTS:
        return Crowd(DIALECTS[dialect]())
    from bench.chat_ours import OurCrowd  # which is a crowd itself

    return OurCrowd()


def main() -> None:
    """Do what the lines say, and read meanwhile."""
    allow_files()
    crowd = make_crowd(sys.argv[1])
    lines = select.poll()
    lines.register(sys.stdin, select.POLLIN)
    while True:
        crowd.turn(0.02)
        if not lines.poll(0):
            continue
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        print(json.dumps(getattr(crowd, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main()
