"""Where servers listen and clients connect: `host:port` or `unix:/path`.

The one owner of binding and of unix sockets, for every door of every process. A host given as a
literal address is used as it is, and a server takes nothing else: "localhost" and "all interfaces"
mean different things to different resolvers, and then one end binds what the other does not try.
The doors that speak HTTP take a name all the same, since browsers and scrapers try every address.

    listener = listen("127.0.0.1:9090")
    operators = listen_by_name("localhost:9190")
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidings.process.errors import SettingsError

UNIX = "unix:"
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: no name, so that connecting never waits for a resolver."""

    family: int
    sockaddr: Any

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"{UNIX}{self.sockaddr}"
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_bind(bind: str) -> tuple[str, int]:
    """`"127.0.0.1:8000"` as `("127.0.0.1", 8000)`; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is nothing of the kind.
    """
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8000, got {bind!r}")
    return host, int(port)


def parse_address(endpoint: str) -> Address | None:
    """`unix:/path` or a literal `host:port` as an address; None if the host is a name to resolve.

    Raises:
        SettingsError: it is neither.
    """
    if endpoint.startswith(UNIX):
        return Address(socket.AF_UNIX, endpoint.removeprefix(UNIX))
    try:
        host, port = split_bind(endpoint)
    except ValueError as ex:
        raise SettingsError(str(ex)) from None
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return Address(socket.AF_INET6 if version == 6 else socket.AF_INET, (host, port))


def resolve(endpoint: str) -> list[Address]:
    """Every address of `endpoint`; asks the resolver, without a limit on time, if the host is a
    name.

    Raises:
        OSError: the name cannot be resolved.
    """
    literal = parse_address(endpoint)
    if literal is not None:
        return [literal]
    host, port = split_bind(endpoint)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def bind_for_each(count: int, bind: str) -> list[socket.socket]:
    """`count` sockets on one TCP address, over which the kernel spreads the clients; one on
    `unix:/path`.

    The address is taken, but a client that connects is refused until a worker listens, so that no
    client waits for a server that is only starting. The unix socket listens already, or it could
    not be told from what a dead process left.

    Raises:
        SettingsError: the address is malformed, or cannot be had.
    """
    if bind.startswith(UNIX):
        return [listen(bind)]
    # Sockets that share their port also share it with a second master of the same user: this one
    # finds that out.
    listen(bind).close()
    found = [_take(bind, shared=True)]
    host, _ = split_bind(bind)
    address = str(Address(found[0].family, (host, found[0].getsockname()[1])))
    return found + [_take(address, shared=True) for _ in range(count - 1)]


def listen(bind: str, backlog: int = BACKLOG) -> socket.socket:
    """A listening socket on a literal `host:port` (0 picks a port) or `unix:/path`.

    Raises:
        SettingsError: the address is malformed, or cannot be had.
    """
    return _take(bind, backlog)


def listen_by_name(bind: str) -> socket.socket:
    """As `listen`, on the first of its addresses if the host is a name.

    Raises:
        SettingsError: the address is malformed, cannot be resolved, or cannot be had.
    """
    try:
        first = resolve(bind)[0]
    except OSError as ex:
        raise cannot_listen(bind, ex) from None
    return listen(str(first))


def check_bind(bind: str) -> None:
    """Ask whether a TCP address could be listened on; the answer for `unix:/path` is yes.

    Raises:
        SettingsError: it could not.
    """
    if not bind.startswith(UNIX):
        listen_by_name(bind).close()


def cannot_listen(bind: object, ex: OSError) -> SettingsError:
    """What to tell an operator about an address that could not be had."""
    taken = ex.errno == errno.EADDRINUSE
    reason = "another program listens there" if taken else ex.strerror or str(ex)
    return SettingsError(f"cannot listen on {bind}: {reason}")


def _take(bind: str, backlog: int | None = None, *, shared: bool = False) -> socket.socket:
    address = parse_address(bind)
    if address is None:
        raise SettingsError(
            f"cannot listen on {bind}: name an address such as 127.0.0.1, not a host"
        )
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        if address.family == socket.AF_UNIX:
            _remove_stale(Path(address.sockaddr))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
            # Inherited by every accepted connection: an answer must not wait for the
            # acknowledgement of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address.sockaddr)
        if backlog is not None:
            sock.listen(backlog)
    except OSError as ex:
        sock.close()
        raise cannot_listen(bind, ex) from ex
    return sock


def _remove_stale(path: Path) -> None:
    """Unlink the socket file of a process that is gone; one that still answers makes `bind`
    fail."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
