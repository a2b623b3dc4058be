"""Runs the chat under gunicorn, configured here and nowhere else.

The master owns the sockets and the worker's life; all that holds a connection is made in the worker
after the fork. One worker is a node: two in one process would be two nodes behind one address,
which a proxy in front of two processes is as well. Rejected: a gunicorn.conf.py, which is a second
place for settings and is not typed.

    serve(load_settings())  # until SIGTERM or SIGINT
"""

from __future__ import annotations

import math
import os
import resource
import socket
from pathlib import Path
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication

from services.chat.app import Chat, create_chat
from services.chat.door import LEAVE_S
from services.chat.worker import ChatWorker
from tidings.http.gunicorn_log import StructuredLogger
from tidings.process.errors import naming
from tidings.process.listening import listen_by_name
from tidings.process.settings import Settings, read_secret_keys
from tidings.store.opening import open_database

WORKER_SILENT_S = 30
SPARE_S = 8
# As many as come within a second after a node has died, when its clients spread over one.
BACKLOG = 4096
# The kernel doubles it. Without a bound it would lend a client that never reads 4 MiB.
SEND_BUFFER_BYTES = 64 * 1024
# Beside the sockets: databases, Redis, logs.
SPARE_FILES = 512
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only where gunicorn keeps its workers' heartbeats

log = structlog.get_logger(__name__)


class ChatServer(BaseApplication):  # type: ignore[misc] # gunicorn carries no annotations
    """gunicorn, told what to run.

    Attributes:
        settings: also for the worker.
        metrics_listener: where the worker answers operators.
    """

    def __init__(
        self, settings: Settings, listener: socket.socket, metrics_listener: socket.socket
    ) -> None:
        self.settings = settings
        self.metrics_listener = metrics_listener
        self._listener_fd = listener.fileno()
        super().__init__(prog="tidings-chat")

    def load_config(self) -> None:
        for name, value in make_options(self.settings, self._listener_fd).items():
            self.cfg.set(name, value)

    def load(self) -> Chat:
        """The worker's app; runs in the worker, after the fork."""
        return create_chat(self.settings)


def make_options(settings: Settings, listener_fd: int) -> dict[str, Any]:
    """gunicorn's settings, by its own names."""
    shedding_s = settings.chat.max_connections / settings.chat.shed_per_s
    return {
        "bind": f"fd://{listener_fd}",
        "workers": 1,
        "worker_class": ChatWorker,
        "worker_connections": settings.chat.max_connections,
        "backlog": BACKLOG,
        "timeout": WORKER_SILENT_S,
        # Below the graceful time-out, or an idle connection would hold up the end (gunicorn 2297).
        "keepalive": math.ceil(settings.chat.hello_s),
        "graceful_timeout": math.ceil(shedding_s + LEAVE_S + settings.chat.hello_s) + SPARE_S,
        "worker_tmp_dir": str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None,
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "preload_app": False,
        "control_socket_disable": True,
        "accesslog": None,
        "loglevel": settings.site.log_level,
        "logger_class": StructuredLogger,
        "proc_name": "tidings-chat",
    }


def serve(settings: Settings) -> None:
    """Serve until told to stop, and exit.

    Raises:
        CannotStartError: something is not as it has to be; nothing was started.
    """
    read_secret_keys(settings.site)
    # A connection opened before the fork must not be there after it.
    open_database(settings).dispose()
    with naming("CHAT_BIND"):
        listener = listen_by_name(settings.chat.bind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    with naming("CHAT_METRICS_BIND"):
        metrics_listener = listen_by_name(settings.chat.metrics_bind)
    _allow_files(settings.chat.max_connections)
    log.info("chat_started", address=listener.getsockname())
    ChatServer(settings, listener, metrics_listener).run()


def _allow_files(sockets: int) -> None:
    """Each socket is a file to the kernel, and a shell's usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sockets + SPARE_FILES
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning("chat_few_files", allowed=allowed, needed=needed)
