"""Bodies of requests that come too slowly.

gunicorn's coroutines wait for a body as long as its client likes to send it, and a client that
sends none holds a connection for hours. So the whole of it has a moment by which it must be there,
as a handshake has. Rejected: a time-out of the socket, which a byte a minute satisfies.

    environ["wsgi.input"] = TimedBody(environ["wsgi.input"], within_s=5)
"""

from __future__ import annotations

import time
from typing import IO

import gevent

from tidings.http.errors import RequestTooSlowError


class TimedBody:
    """As much of a file as WSGI asks for.

    Raises, wherever it reads:
        RequestTooSlowError: the body was not there in time.
    """

    def __init__(self, body: IO[bytes], within_s: float) -> None:
        self._body = body
        self._until_s = time.monotonic() + within_s

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        late = RequestTooSlowError("the body did not come in time")
        # Of nothing left gevent would make no time-out at all.
        with gevent.Timeout(max(self._until_s - time.monotonic(), 0.001), late):
            return self._body.read(size)
