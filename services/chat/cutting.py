"""Cuts a connection off so that whoever waits for it reads its end, as if the client had left.

gevent's own `shutdown` and `close` wake the coroutine that waits with an EBADF instead, which
gunicorn takes for a failure of the server and logs with a traceback.

    cut(sock)
"""

from __future__ import annotations

import socket
from contextlib import suppress

from gevent.socket import socket as GreenSocket  # noqa: N812 - it is a class


def cut(sock: GreenSocket) -> None:
    """Shut both ways of a connection down. It neither waits nor raises."""
    with suppress(OSError):
        sock._sock.shutdown(socket.SHUT_RDWR)  # the kernel's, beneath gevent's
