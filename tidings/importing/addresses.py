"""Which machines may be asked for what a stranger's address names, and the connection to one.

A name is looked up once, each address that it stands for is judged, and the connection is made to
one that was judged. Rejected: a check of the name beforehand; the check is answered with one
address and the connection with another. Python's `is_global` knows most of what is no public
machine; the table has what it lets through: addresses that carry another one, which some router on
the way takes out again.

    sock = connect("feeds.example", 443, rules=PUBLIC_ONLY, wait_s=10, watch=sockets.append)
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidings.process.settings import Settings

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # IPv4 within IPv6, as first defined (RFC 4291, 2.5.5.1)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # NAT64 of one's own (RFC 8215)
        "2001::/32",  # Teredo (RFC 4380)
        "2002::/16",  # 6to4 (RFC 3056)
        "5f00::/16",  # Segment routing (RFC 9602)
        "fec0::/10",  # Addresses of one site, given up (RFC 3879)
        "192.88.99.0/24",  # Relays of 6to4 (RFC 7526)
    )
)


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What an operator allows, and who asks.

    Attributes:
        site_url: where the site can be found; told to those who are asked.
        private_addresses: whether machines of the own network, this one included, may be asked.
    """

    site_url: str = ""
    private_addresses: bool = False

    @classmethod
    def of(cls, settings: Settings) -> FetchRules:
        return cls(
            site_url=settings.site.url,
            private_addresses=settings.content.fetch_private_addresses,
        )


PUBLIC_ONLY = FetchRules()


class AddressRefusedError(OSError):
    """The host has no address that may be asked."""


def is_public(address: str) -> bool:
    """Whether this is the IP address of one machine that everybody can reach."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return (
        found.is_global
        and not found.is_multicast
        and not any(found in network for network in _NOT_PUBLIC)
    )


def connect(
    host: str,
    port: int,
    *,
    rules: FetchRules,
    wait_s: float,
    watch: Callable[[socket.socket], None],
) -> socket.socket:
    """A connection to the first address of `host` that may be asked and answers.

    Args:
        host: a name or an address.
        port: of the server.
        rules: what may be asked.
        wait_s: for the name, and then for each address.
        watch: told of each socket before it connects.

    Raises:
        AddressRefusedError: none of its addresses may be asked.
        OSError: there is no such name, or no address answers.
    """
    found = _look_up(host, port, wait_s)
    allowed = [entry for entry in found if rules.private_addresses or is_public(str(entry[4][0]))]
    if not allowed:
        raise AddressRefusedError(f"{found[0][4][0]} is not a public address")
    failure: OSError | None = None
    for family, kind, protocol, _name, address in allowed:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(wait_s)
            watch(sock)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as ex:
            sock.close()
            failure = ex
        else:
            return sock
    assert failure is not None
    raise failure


def _look_up(host: str, port: int, wait_s: float) -> Sequence[_Found]:
    """What the resolver says. It has no time-out of its own, so it is asked in a thread that is
    left to itself when the time is up."""
    answers: queue.SimpleQueue[Sequence[_Found] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as ex:
            answers.put(ex)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=wait_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, UnicodeError):
        raise OSError(f"{host!r} is no host's name")
    if isinstance(answer, OSError):
        raise answer
    return answer


_Found = tuple[
    socket.AddressFamily,
    socket.SocketKind,
    int,
    str,
    tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
]
