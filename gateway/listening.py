"""Takes the address before anything else starts, so that one already in use is one clear line.

gunicorn tries five times, a second each, and ends with a traceback; so it is given a socket that
listens.
"""

from __future__ import annotations

import os
import socket
import stat

from tidings.process.boot import cannot_bind
from tidings.process.settings import split_bind

BACKLOG = 1024


def listen(bind: str, key: str) -> socket.socket:
    """A listening socket on `HOST:PORT` or `unix:/path`.

    Raises:
        CannotStartError: the address cannot be had. `key` is the setting it came from, without
            prefix.
    """
    try:
        listener = (
            _listen_unix(bind.removeprefix("unix:"))
            if bind.startswith("unix:")
            else _listen_tcp(bind)
        )
    except OSError as ex:
        raise cannot_bind(key, bind, ex) from None
    listener.listen(BACKLOG)
    return listener


def _listen_tcp(bind: str) -> socket.socket:
    host, port = split_bind(bind)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every accepted connection: an answer must not wait for the acknowledgement of
        # the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """A socket file outlives the process that was killed; nobody answers on it any more."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
