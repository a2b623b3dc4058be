"""The operators' port of a process: `/metrics`, `/health/live` and `/health/ready`, apart from the
readers' door.

Its own thread and port, so that a scrape never waits behind readers and never shows itself to them.
Metrics themselves are made where they are counted, with prometheus_client's own classes.

    stop = serve_metrics("127.0.0.1:9190", is_ready=lambda: True)
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from tidings.process.listening import listen_by_name
from tidings.process.shared_metrics import registry_to_show

Probe = Callable[[], bool]
WSGIApp = Callable[..., Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, app: WSGIApp) -> None:
        super().__init__(("localhost", 0), _QuietHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()
        self.set_app(app)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A client of a unix socket has no address, where WSGI asks for one."""
        client, address = self.socket.accept()
        return client, address or ("localhost", 0)


class _QuietHandler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is not news."""


def serve_metrics(bind: str, is_ready: Probe, is_live: Probe = lambda: True) -> Callable[[], None]:
    """Answer `/metrics` and the health questions on `bind` from a daemon thread; returns the
    function that stops it.

    Args:
        bind: `host:port` or `unix:/path`.

    Raises:
        SettingsError: the address cannot be had.
    """
    return serve_metrics_on(listen_by_name(bind), is_ready, is_live)


def serve_metrics_on(
    listener: socket.socket, is_ready: Probe, is_live: Probe = lambda: True
) -> Callable[[], None]:
    """As `serve_metrics`, on a socket that another process has made and may hold too."""
    server = _Server(listener, _make_app(is_ready, is_live))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


def _make_app(is_ready: Probe, is_live: Probe) -> WSGIApp:
    metrics: WSGIApp = make_wsgi_app(registry_to_show())
    probes = {"/health/live": is_live, "/health/ready": is_ready}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        probe = probes.get(path)
        status = HTTPStatus.NOT_FOUND
        if probe is not None:
            status = HTTPStatus.OK if probe() else HTTPStatus.SERVICE_UNAVAILABLE
        start_response(
            f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")]
        )
        return [status.phrase.encode() + b"\n"]

    return app
