"""Sockets by the hundred beside the readers whose ledgers are kept: where a node ends, and where
one of them does not read.

    with crowd(site) as sockets:
        sockets.join(500, site.nodes[0])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.chat_stacks import Crowd
from tests.faults.chat_site import ChatSite, Node

SHED_PER_S = 200
BURST_PER_S, BURST_KIB = 25, 15
# More than the kernel takes in for a socket that is not read, and 256 KiB.
LEAST_BURST = 300


class Sockets:
    """Clients of one process, all of one node."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def join(self, number: int, node: Node) -> None:
        joined = self._crowd.ask("connect", number=number, ports=[node.port])
        assert joined["joined"] == number, joined

    def watch_ends(self) -> Callable[[], dict[str, Any]]:
        """From now on; the function waits until all have ended, and says how."""
        self._crowd.begin("ends")
        return self._crowd.end

    def stall(self, number: int, load_s: float) -> dict[str, Any]:
        """So many stop reading while a busy topic goes on."""
        self._crowd.ask("stall", number=number)
        burst = max(LEAST_BURST, int(load_s * BURST_PER_S))
        return self._crowd.ask("burst", number=burst, per_s=BURST_PER_S, kib=BURST_KIB)


@contextmanager
def crowd(site: ChatSite) -> Iterator[Sockets]:
    """A process of clients, until the block ends."""
    with Crowd("tidings", site.settings) as process:
        yield Sockets(process)
