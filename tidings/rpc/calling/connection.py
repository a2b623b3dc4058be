"""One connection to a server: opened within a time-out, and speaking the lean way until the server
does not.

It knows nothing of pools and calls; what a call learns about the connection on the way, it leaves
here for the pool. Rejected: Thrift's own `TSocket`; see `tidings.rpc.wire.transport`.

    connection = connect(address, timeout_s=0.2, limits=Limits())
"""

from __future__ import annotations

import socket
import time

from tidings.process.listening import Address
from tidings.rpc.tls import ClientTls
from tidings.rpc.wire.headers import UnusualError
from tidings.rpc.wire.limits import Limits
from tidings.rpc.wire.protocol import HEADERS_ONLY, HeaderProtocol, LeanProtocol, Protocol
from tidings.rpc.wire.transport import SocketTransport


class Connection:
    """The client's end. The call that holds it has it alone.

    Attributes:
        is_idle: asks whether it can be used for a call: not closed, and no byte of a late reply has
            come.
        is_doubtful: it must not be used again, although nothing failed.
        peer_is_leaving: the server has said that it is about to stop.
    """

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.transport = SocketTransport(sock, limits.message_bytes)
        self._limits = limits
        self.protocol: Protocol = LeanProtocol(self.transport, HEADERS_ONLY, limits)
        self.is_idle = self.transport.is_quiet
        self.is_doubtful = False
        self.peer_is_leaving = False

    def read_message_begin(self) -> tuple[str, int, int]:
        """The name, type and sequence id of the next message."""
        try:
            return self.protocol.readMessageBegin()
        except UnusualError:
            self.protocol = HeaderProtocol(self.transport, HEADERS_ONLY, self._limits)
            return self.protocol.readMessageBegin()

    def close(self) -> None:
        self.transport.close()


def connect(
    address: Address,
    timeout_s: float,
    limits: Limits,
    *,
    tls: ClientTls | None = None,
) -> Connection:
    """Raises:
    OSError: no server listens there, or none answers within `timeout_s`, or there is no trust
        between the two.
    """
    until_s = time.monotonic() + timeout_s
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout_s, 0.001))
        sock.connect(address.sockaddr)
        if tls is not None:
            sock.settimeout(max(until_s - time.monotonic(), 0.001))
            sock = tls.wrap(sock)
        return Connection(sock, limits)
    except BaseException:
        sock.close()
        raise
