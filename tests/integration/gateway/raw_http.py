"""Bytes to a gateway and answers from it, with nothing between that would mend either."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from dataclasses import dataclass
from typing import Any, Self

from tests.faults.gateway_site import GatewaySite

GET = b"GET /channels HTTP/1.1\r\nHost: a\r\n\r\n"
FEED = b"GET /articles?article_num=100 HTTP/1.1\r\nHost: a\r\n\r\n"

# For what is to come sooner or later; no test is about how soon.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as it came over the wire."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to a gateway.

    Args:
        receive_buffer: what the system takes in for a client that does not read; 0 is its default.
        source: the address to come from.
    """

    def __init__(
        self, address: tuple[str, int], *, receive_buffer: int = 0, source: str = ""
    ) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE_S)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self._read = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Self:
        self.sock.sendall(data)
        return self

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer.

        Raises:
            EOFError: the gateway closed the connection instead.
        """
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._receive()
        head = bytes(self._read[:end]).decode("latin-1")
        first, *lines = head.split("\r\n")
        found = re.fullmatch(r"(HTTP/1\.\d) (\d{3}) .+", first)
        assert found, first
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        status = int(found[2])
        length = 0
        if has_body and status >= 200 and status not in (204, 304):
            length = int(headers["content-length"])
        del self._read[: end + 4]
        while len(self._read) < length:
            self._receive()
        body = bytes(self._read[:length])
        del self._read[:length]
        return Answer(found[1], status, headers, body)

    def is_closed(self) -> bool:
        """True if the gateway closes the connection without another byte."""
        assert not self._read, bytes(self._read)
        try:
            return not self.sock.recv(1)
        except ConnectionResetError:
            return True

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(bytes(self._read))
        self._read += data


def metric(gateway: GatewaySite, sample: str) -> float:
    """One line of /metrics; 0 if it is not there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.process.port}/metrics") as page:
        text = page.read().decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def lines(gateway: GatewaySite, event: str) -> list[dict[str, Any]]:
    """What it has logged of this event."""
    log = gateway.process.log.read_text().splitlines()
    return [line for line in map(json.loads, log) if line["event"] == event]
