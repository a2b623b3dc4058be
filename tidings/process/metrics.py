"""The operators' port of a process: `/metrics`, `/health/live` and `/health/ready`, apart from the
readers' door.

Its own thread and port, so that a scrape never waits behind readers and never shows itself to them.
Metrics themselves are made where they are counted, with prometheus_client's own classes.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Metric, make_wsgi_app, multiprocess

from tidings.process.listening import listen_by_name

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
    server = _Server(listen_by_name(bind), _make_app(is_ready, is_live))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


class _WorkersCollector(multiprocess.MultiProcessCollector):
    def collect(self) -> Iterable[Metric]:
        """Look again if a worker is just making its file, which for an instant is empty."""
        for pause_s in (0.01, 0.05, 0.2):
            try:
                return self._collect()
            except struct.error:
                time.sleep(pause_s)
        return self._collect()

    def _collect(self) -> Iterable[Metric]:
        found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return found


def _make_app(is_ready: Probe, is_live: Probe) -> WSGIApp:
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        _WorkersCollector(registry)  # type: ignore[no-untyped-call]
    metrics: WSGIApp = make_wsgi_app(registry)
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
