"""A network of its own for one node: one link for its readers, another for database and Redis,
which can be cut while the first stays.

    with networks(os.getpid()) as split:
        split.cut()

Network namespaces want root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.lab.servers import find_program

CLIENTS, SERVERS = "10.213.78", "10.213.79"


@dataclass(frozen=True, slots=True)
class Networks:
    """The namespace, and the outer end of the link to the servers."""

    name: str
    servers: str

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
    split = Networks(f"tidings-chat-{number}", f"ts{number}")
    outer = {CLIENTS: f"tc{number}", SERVERS: split.servers}
    try:
        _ip("netns", "add", split.name)
        _ip("-netns", split.name, "link", "set", "lo", "up")
        for network, link in outer.items():
            inner = "clients" if network == CLIENTS else "servers"
            _ip("link", "add", link, "type", "veth", "peer", "name", inner, "netns", split.name)
            _ip("address", "add", f"{network}.1/30", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-netns", split.name, "address", "add", f"{network}.2/30", "dev", inner)
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
