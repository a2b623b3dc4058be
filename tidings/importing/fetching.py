"""Downloads one http(s) address into a file, with a bound on everything a server can make us wait
for or store.

urllib's own time-out is per read, so a server that sends one byte now and then holds a client for
ever: a watchdog shuts the socket when the whole time is up. Only http and https are opened, also
after a redirect. Which hosts may be asked is not restricted: an import is run by an operator, with
an operator's rights.

    fetch("https://example.org/feed", file, max_bytes=16 * 1024**2, deadline_s=30)
"""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit, urlunsplit

READ_TIMEOUT_S = 10
MAX_REDIRECTS = 5
CHUNK_BYTES = 64 * 1024
USER_AGENT = "Tidings (article import)"


class FetchError(Exception):
    """The address could not be fetched. Says why, without repeating the address."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the content came from in the end, and what the server called it."""

    url: str
    content_type: str


def fetch(url: str, target: BinaryIO, *, max_bytes: int, deadline_s: float) -> Fetched:
    """Write what `url` answers into `target`.

    Raises:
        FetchError: no such host, an error status, more than `max_bytes`, longer than `deadline_s`,
            or cut short.
    """
    watchdog = _Watchdog(deadline_s)
    try:
        request = urllib.request.Request(  # noqa: S310 - the opener knows http and https only
            _ascii_url(url), headers={"User-Agent": USER_AGENT, "Accept": "*/*"}
        )
        with watchdog, _make_opener(watchdog).open(request, timeout=READ_TIMEOUT_S) as response:
            _copy(response, target, max_bytes)
            if watchdog.has_bitten:
                # To http.client a shut socket may look like the end of the answer.
                raise TimeoutError
            return Fetched(response.geturl(), response.headers.get("Content-Type", ""))
    except urllib.error.HTTPError as ex:
        ex.close()
        raise FetchError(f"{ex.code} {ex.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as ex:
        if watchdog.has_bitten:
            raise FetchError(f"took longer than {deadline_s:g} s") from None
        raise FetchError(_reason(ex)) from None


class _Watchdog:
    """Shuts the sockets of one fetch when its time is up."""

    def __init__(self, deadline_s: float) -> None:
        self.has_bitten = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(deadline_s, self._bite)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_exc: object) -> None:
        self._timer.cancel()

    def watch(self, sock: socket.socket) -> None:
        self._sockets.append(sock)
        if self.has_bitten:
            self._bite()

    def _bite(self) -> None:
        self.has_bitten = True
        for sock in self._sockets:
            with suppress(OSError):  # Already closed: nothing waits on it.
                sock.shutdown(socket.SHUT_RDWR)


def _make_opener(watchdog: _Watchdog) -> urllib.request.OpenerDirector:
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            watchdog.watch(self.sock)

    class SecureConnection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            watchdog.watch(self.sock)

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, req)

    opener = urllib.request.OpenerDirector()
    # Not build_opener, which would add ftp, file and data.
    for handler in (
        urllib.request.ProxyHandler(),
        Http(),
        Https(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS


def _copy(response: http.client.HTTPResponse, target: BinaryIO, max_bytes: int) -> None:
    copied = 0
    while chunk := response.read1(CHUNK_BYTES):
        copied += len(chunk)
        if copied > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes")
        target.write(chunk)
    # read1 ends quietly where the connection did, even short of what was promised.
    if response.length:
        raise ValueError(f"the connection ended {response.length} bytes early")


def _reason(ex: Exception) -> str:
    cause: Any = ex.reason if isinstance(ex, urllib.error.URLError) else ex
    if isinstance(cause, TimeoutError):
        return f"no answer within {READ_TIMEOUT_S} s"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    return str(cause) or type(cause).__name__


def _ascii_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None:
        raise FetchError("a user name in the address is not supported")
    host = parts.netloc
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    keep = "%/:=&?~+!$,;'@()*[]"
    return urlunsplit((parts.scheme, host, quote(parts.path, keep), quote(parts.query, keep), ""))
