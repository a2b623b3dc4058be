"""A cable between a browser and a server that can be pulled out and put back.

A browser's own offline mode does not touch sockets that are open already. While the cable is out,
what is connected hangs, as after a walk out of the house, and what connects anew is refused; when
it is put back, what hung is gone. Rejected: ending the server, which tells its clients.

    with start_relay(8001) as relay:
        relay.pull()
        relay.mend()
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Passes every connection to a port of this machine on.

    Attributes:
        port: where it listens itself, on 127.0.0.1.
        opened: how many connections it has passed on.
    """

    def __init__(self, target: int) -> None:
        self.opened = 0
        self._target = target
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self._is_whole.clear()

    def mend(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)
        self._is_whole.set()

    def close(self) -> None:
        _shut(self._listener)
        self.mend()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._is_whole.is_set():
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self.opened += 1
                self._ends += (near, far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._is_whole.wait()
                sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def start_relay(target: int) -> Iterator[Relay]:
    """A cable to a port, whole at first."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()
