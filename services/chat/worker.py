"""gunicorn's gevent worker, which hands each connection that becomes a socket to a session.

Of gunicorn the life of the process is used, its parser, and its answers over HTTP; what it reads
from is closed for it when the session takes the connection over. Rejected: gevent's own server,
which would need all of that again.

    options = {"worker_class": ChatWorker}  # for gunicorn, as in services/chat/server.py
"""

from __future__ import annotations

import gc
import time
from typing import Any

import gevent
from gevent.socket import socket as GreenSocket  # noqa: N812 - it is a class
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from services.chat.app import SOCKET_PATH, Chat
from services.chat.counts import REFUSED
from services.chat.door import HandedOverError
from tidings.http.errors import TooManyConnectionsError
from tidings.process.metrics import serve_metrics_on

# Ten thousand sockets are a million objects, which live for hours: to look through them all at each
# 700 new ones would take a third of a core.
_GC_THRESHOLDS = (50_000, 20, 100)
_LOOK_S = 0.1
_SPARE_S = 2.0
# A client that takes nothing of an answer for so long is gone. Sockets have the heartbeat.
STALLED_S = 60.0


class ChatWorker(GeventWorker):  # type: ignore[misc] # gunicorn carries no annotations
    """Relies on names inside gunicorn (seen with 27.0); the tests drive what is built on them."""

    alive: bool
    _shedding: Any = None
    wsgi: Chat

    def init_process(self) -> None:
        self._hello_s: float = self.app.settings.chat.hello_s
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop, and until all have left."""
        self.wsgi.start()
        serve_metrics_on(self.app.metrics_listener, self.is_ready)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        super().run()
        while self._shedding is not None and not self._shedding.ready():
            self.notify()
            time.sleep(_LOOK_S)

    def is_ready(self) -> bool:
        """May it be given sockets."""
        return self.alive and self.wsgi.is_ready()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. What was begun goes on for as long as the shedding takes."""
        super().handle_exit(sig, frame)
        if self._shedding is None:
            self._shedding = gevent.spawn(self.wsgi.stop)

    def timeout_ctx(self) -> gevent.Timeout:
        """To ask again. The first time the door is quicker, which counts those it gives up."""
        return gevent.Timeout(self._hello_s + _SPARE_S, False)

    def handle(self, listener: Any, client: GreenSocket, addr: Any) -> None:
        """A connection, from its first byte until gunicorn is done with it."""
        address = addr[0] if isinstance(addr, tuple) else ""
        try:
            self.wsgi.door.arrive(client, address)
        except TooManyConnectionsError:
            REFUSED.labels("address").inc()
            client.close()
            return
        try:
            super().handle(listener, client, addr)
        finally:
            self.wsgi.door.depart(client)

    def handle_request(self, listener_name: Any, req: Any, sock: GreenSocket, addr: Any) -> Any:
        """A request. One that became a session is the last that gunicorn reads of its
        connection."""
        self.wsgi.door.asked(sock)
        sock.settimeout(STALLED_S)
        if req.path == SOCKET_PATH:
            req.force_close()  # what was refused is not asked again on the same connection
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except HandedOverError as ex:
            gevent.spawn_raw(ex.session.run, ex.answer, req.unreader.take_buffered())
            raise StopIteration from None
        except TimeoutError:
            raise StopIteration from None

    def handle_error(self, req: Any, client: GreenSocket, addr: Any, exc: BaseException) -> None:
        """A connection whose bytes are no request; gunicorn's answer says so."""
        if isinstance(exc, ParseException):
            REFUSED.labels("garbage").inc()
        super().handle_error(req, client, addr, exc)
