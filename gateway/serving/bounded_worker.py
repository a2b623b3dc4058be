"""gunicorn's threaded worker, with a bound on how long any client may keep one of its threads.

As it comes, a connection that says nothing holds a thread for five seconds, and one that sends a
byte now and then holds it for ever: sixteen of them and the door is shut, and browsers open silent
connections just in case. Here a silent connection costs no thread, and a request that is not over
in time loses its connection. Rejected: gevent, which would make every library in the process a
guest of its event loop.

    options = {"worker_class": BoundedWorker}  # for gunicorn, as in gateway/serving/server.py
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.http.request_scope import READABLE_S
from gateway.serving.proxies import Proxies

FIRST_BYTE_S = 10.0
REQUEST_S = 10.0


class BoundedWorker(ThreadWorker):  # type: ignore[misc] # gunicorn carries no annotations
    """Relies on names inside gunicorn (seen with 27.0); the tests drive what is built on them.

    Attributes:
        number: its name in metrics; no other living worker has it.
    """

    number = 0
    wsgi: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._give_up_at_s: dict[Any, float] = {}
        self._proxies: Proxies = self.app.proxies

    def load_wsgi(self) -> None:
        """The app, told what only the server knows of a request."""
        super().load_wsgi()
        app = self.wsgi

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ[READABLE_S] = time.monotonic()
            self._proxies.settle(environ)
            return app(environ, start_response)

        self.wsgi = answer

    def accept(self, listener: Any) -> None:
        """Take a connection in, and wait for its first byte where waiting is free."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.timeout = time.monotonic() + FIRST_BYTE_S
        self.pending_conns.append(conn)
        self.poller.register(
            client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn)
        )

    def handle(self, conn: Any) -> Any:
        """Serve one request of a connection, in a thread of the pool."""
        self._give_up_at_s[conn] = time.monotonic() + REQUEST_S
        try:
            return super().handle(conn)
        finally:
            del self._give_up_at_s[conn]

    def murder_pending(self) -> None:
        """Called at least once a second: drop who said nothing, and who takes too long to say or to
        hear it."""
        super().murder_pending()
        now_s = time.monotonic()
        for conn, give_up_at_s in self._give_up_at_s.copy().items():
            if now_s > give_up_at_s:
                # Not closed, which would free the number while a thread uses it; the thread wakes
                # up and closes it.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _cap_keepalive(self, deadline: float) -> None:
        """A stopping worker waits for silent connections no longer than for idle ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
