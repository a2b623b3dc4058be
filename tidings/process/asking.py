"""Asks a process of ours over HTTP whether it is ready, at `host:port` or `unix:/path` alike.

The supervisor asks the operators' ports, and the gateway's master asks its own readers' door.
Rejected: urllib, which knows no unix sockets.

    is_ready = answers_ready("unix:/run/tidings/metrics")
"""

from __future__ import annotations

import http.client
import socket

from tidings.process.listening import Address, resolve

TIMEOUT_S = 1


def answers_ready(endpoint: str) -> bool:
    """True if `/health/ready` at `endpoint` is answered with 200."""
    try:
        connection = _Connection(resolve(endpoint)[0])
    except OSError:
        return False
    try:
        connection.request("GET", "/health/ready", headers={"Host": "localhost"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def endpoint_of(listener: socket.socket) -> str:
    """How to name what a socket listens on."""
    return str(Address(listener.family, listener.getsockname()))


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: Address) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(self._address.family, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._address.sockaddr)
