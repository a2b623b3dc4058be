"""A network of its own for one node: one link for its readers, another for database and Redis,
which can be cut while the first stays.

    with networks(os.getpid()) as split:
        split.cut()

Network namespaces want root. Each run has addresses of its own, since those of a run that was
killed stay until the machine starts anew.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.lab.servers import find_program

# For tests between networks (RFC 2544): room for 32,768 links of four addresses each.
_RESERVED = int(IPv4Address("198.18.0.0"))
CLIENTS, SERVERS, RECOMMENDERS = range(3)


def ends(number: int, link: int) -> tuple[str, str]:
    """The addresses of a link, here and in the namespace.

    Args:
        number: of the process that runs the tests.
        link: CLIENTS, SERVERS or RECOMMENDERS.
    """
    first = _RESERVED + 4 * (number % 2**13 * 4 + link)
    return str(IPv4Address(first + 1)), str(IPv4Address(first + 2))


@dataclass(frozen=True, slots=True)
class Networks:
    """The namespace.

    Attributes:
        servers: the name of the outer end of the link to database and Redis.
        address: of the node, for readers.
        outside: where database and Redis listen, for the node.
    """

    name: str
    servers: str
    address: str
    outside: str

    @property
    def inside(self) -> list[str]:
        """What a command that runs inside begins with."""
        return [find_program("ip"), "netns", "exec", self.name]

    def cut(self) -> None:
        """Drop every packet between the node and its servers; no connection is told."""
        _ip("link", "set", self.servers, "down")

    def join(self) -> None:
        _ip("link", "set", self.servers, "up")


@contextmanager
def networks(number: int) -> Iterator[Networks]:
    """A namespace with both links, until the block ends.

    Raises:
        PermissionError: this is not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("a network of its own for a node takes a namespace, and that root")
    split = Networks(
        f"tidings-chat-{number}",
        f"ts{number}",
        address=ends(number, CLIENTS)[1],
        outside=ends(number, SERVERS)[0],
    )
    outer = {CLIENTS: f"tc{number}", SERVERS: split.servers}
    try:
        _ip("netns", "add", split.name)
        _ip("-netns", split.name, "link", "set", "lo", "up")
        for network, link in outer.items():
            inner = "clients" if network == CLIENTS else "servers"
            here, there = ends(number, network)
            _ip("link", "add", link, "type", "veth", "peer", "name", inner, "netns", split.name)
            _ip("address", "add", f"{here}/30", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-netns", split.name, "address", "add", f"{there}/30", "dev", inner)
            _ip("-netns", split.name, "link", "set", inner, "up")
        yield split
    finally:
        for link in outer.values():
            with suppress(subprocess.CalledProcessError):
                _ip("link", "delete", link)
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", split.name)


def _ip(*words: str) -> None:
    subprocess.run([find_program("ip"), *words], check=True, capture_output=True)
