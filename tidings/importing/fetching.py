"""Downloads one http(s) address into a file, with a bound on everything a server can make us wait
for, store or ask.

Time-outs of HTTP clients are per read, so a server that sends one byte now and then holds a client
for ever: a watchdog shuts the sockets when the whole time is up. Redirects are followed here, one
at a time, since each of them may lead anywhere: only http and https, only to machines that the
rules allow. Rejected: urllib, which unpacks nothing, and httpx or requests, whose connections
cannot be told which address to use.

    with open("feed.xml", "wb") as file:
        fetch("https://example.org/feed", file, max_bytes=16 * 1024**2, deadline_s=30)
"""

from __future__ import annotations

import email.utils
import http.client
import http.cookies
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus
from importlib.metadata import version
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError, IncompleteRead

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules, connect

READ_TIMEOUT_S = 10
MAX_REDIRECTS = 5
CHUNK_BYTES = 64 * 1024
# One day: no server is left alone for longer, even if it asks for more.
MAX_RETRY_AFTER_S = 24 * 3600
# As much as fits into a line that names what failed.
MAX_REASON_CHARS = 200
NOT_MODIFIED = 304
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOR_GOOD = frozenset({301, 308})


class FetchError(Exception):
    """The address could not be fetched. Says why, without repeating the address.

    Attributes:
        status: what the server answered, if it did.
        retry_after_s: for how long it wants to be left alone, if it says so.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was answered.

    Attributes:
        url: where the content came from in the end.
        content_type: what the server called it.
        status: 304 if nothing is new, and nothing was written.
        etag: of the content, to be sent next time.
        last_modified: of the content, to be sent next time.
        permanent_url: where the address has moved for good, by a permanent redirect from it.
        retry_after_s: for how long the server wants to be left alone, if it says so.
    """

    url: str
    content_type: str
    status: int
    etag: str
    last_modified: str
    permanent_url: str | None
    retry_after_s: int | None


def fetch(
    url: str,
    target: BinaryIO,
    *,
    max_bytes: int,
    deadline_s: float,
    etag: str = "",
    last_modified: str = "",
    rules: FetchRules = PUBLIC_ONLY,
) -> Fetched:
    """Write what `url` answers into `target`, without the compression of its transport.

    Args:
        url: http or https.
        target: for the content.
        max_bytes: of the content, unpacked.
        deadline_s: for all of it, redirects included.
        etag: of the content that is here already; what has not changed is not sent again.
        last_modified: the same.
        rules: which machines may be asked.

    Raises:
        FetchError: no such host, a host that may not be asked, an error status, more than
            `max_bytes`, longer than `deadline_s`, or cut short.
    """
    watchdog = _Watchdog(deadline_s)
    try:
        with watchdog:
            asking = _Asking(watchdog, rules, _conditions(etag, last_modified))
            fetched = asking.follow(_ascii_url(url), target, max_bytes)
            if watchdog.has_bitten:
                # A shut socket may look like the end of the answer.
                raise TimeoutError
            return fetched
    except (OSError, HTTPError, http.client.HTTPException, ValueError) as ex:
        if watchdog.has_bitten:
            raise FetchError(f"took longer than {deadline_s:g} s") from None
        raise FetchError(_reason(ex)) from None


class _Asking:
    """The requests of one fetch."""

    def __init__(self, watchdog: _Watchdog, rules: FetchRules, conditions: dict[str, str]) -> None:
        self._watchdog = watchdog
        self._rules = rules
        self._conditions = conditions
        self._cookies: dict[str, str] = {}
        self._pools = _make_pools(self._dial)

    def follow(self, url: str, target: BinaryIO, max_bytes: int) -> Fetched:
        first, permanent = url, url
        for _hop in range(MAX_REDIRECTS + 1):
            response = self._ask(url)
            try:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    self._read(response, target, max_bytes)
                    return self._describe(response, url, permanent if permanent != first else None)
                self._keep_cookies(response, url)
                next_url = _redirected(url, response.headers["Location"])
                if permanent == url and response.status in _FOR_GOOD:
                    permanent = next_url
                url = next_url
            except FetchError as ex:
                # Where a redirect leads that may end; the address itself is not gone for good.
                if ex.status == HTTPStatus.GONE and url != permanent:
                    ex.status = HTTPStatus.NOT_FOUND
                raise
            finally:
                response.close()
                self._pools.clear()
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")

    def _ask(self, url: str) -> urllib3.BaseHTTPResponse:
        headers = {
            "User-Agent": _user_agent(self._rules.site_url),
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate, br",
            **self._conditions,
        }
        if cookie := self._cookies.get(_host(url)):
            headers["Cookie"] = cookie
        return self._pools.urlopen(
            "GET",
            url,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=READ_TIMEOUT_S,
        )

    def _dial(self, host: str, port: int) -> socket.socket:
        return connect(
            host, port, rules=self._rules, wait_s=READ_TIMEOUT_S, watch=self._watchdog.watch
        )

    def _keep_cookies(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        """Some servers redirect to the same address until their cookie comes back."""
        found = http.cookies.SimpleCookie()
        with suppress(http.cookies.CookieError):
            for line in response.headers.getlist("Set-Cookie"):
                found.load(line)
        if found:
            self._cookies[_host(url)] = "; ".join(
                f"{name}={morsel.coded_value}" for name, morsel in found.items()
            )

    def _read(self, response: urllib3.BaseHTTPResponse, target: BinaryIO, max_bytes: int) -> None:
        if response.status == NOT_MODIFIED and self._conditions:
            return
        if not 200 <= response.status < 300:
            raise FetchError(
                f"{response.status} {response.reason or ''}".rstrip(),
                status=response.status,
                retry_after_s=_read_retry_after(response.headers.get("Retry-After", "")),
            )
        copied = 0
        for chunk in response.stream(CHUNK_BYTES, decode_content=True):
            copied += len(chunk)
            if copied > max_bytes:
                raise FetchError(f"more than {max_bytes} bytes", status=response.status)
            target.write(chunk)

    def _describe(
        self, response: urllib3.BaseHTTPResponse, url: str, permanent: str | None
    ) -> Fetched:
        return Fetched(
            url=url,
            content_type=response.headers.get("Content-Type", ""),
            status=response.status,
            etag=response.headers.get("ETag", ""),
            last_modified=response.headers.get("Last-Modified", ""),
            permanent_url=permanent,
            retry_after_s=_read_retry_after(response.headers.get("Retry-After", "")),
        )


class _Watchdog:
    """Shuts the sockets of one fetch when its time is up.

    It holds copies of them: encryption takes a socket over, and the copy shuts the same connection.
    """

    def __init__(self, deadline_s: float) -> None:
        self.has_bitten = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(deadline_s, self._bite)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_exc: object) -> None:
        self._timer.cancel()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()

    def watch(self, sock: socket.socket) -> None:
        """Raises:
        TimeoutError: the time is up.
        """
        with self._lock:
            if self.has_bitten:
                raise TimeoutError
            self._sockets.append(sock.dup())

    def _bite(self) -> None:
        with self._lock:
            self.has_bitten = True
            for sock in self._sockets:
                with suppress(OSError):  # It is not connected yet, or not any more.
                    sock.shutdown(socket.SHUT_RDWR)


def _make_pools(dial: Callable[[str, int], socket.socket]) -> urllib3.PoolManager:
    """Connections that are made by `dial` and by nothing else; no proxy is asked."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools = urllib3.PoolManager()
    pools.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
    return pools


def _conditions(etag: str, last_modified: str) -> dict[str, str]:
    named = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in named.items() if value}


def _user_agent(site_url: str) -> str:
    about = f" (+{site_url})" if site_url else ""
    return f"Tidings/{version('tidings')}{about}"


def _read_retry_after(text: str) -> int | None:
    """Seconds or a date (RFC 9110, 10.2.3); None for what is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), MAX_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # A year, or a zone, of a hundred digits.
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp() - time.time()), 0), MAX_RETRY_AFTER_S)


def _reason(ex: Exception) -> str:
    if isinstance(ex, DecodeError):
        return "the content is not packed as the server says"
    cause: object = ex
    while isinstance(cause, HTTPError):
        if isinstance(cause, IncompleteRead):
            return f"the connection ended {cause.expected} bytes early"
        within = [part for part in cause.args if isinstance(part, Exception)]
        if not within:
            break
        cause = within[-1]
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return f"no answer within {READ_TIMEOUT_S} s"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    # What a server sent in place of a status may be part of it.
    return " ".join(str(cause).split())[:MAX_REASON_CHARS] or type(cause).__name__


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. Headers are read as Latin-1, and most servers write UTF-8."""
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    return _ascii_url(urljoin(url, location.strip()))


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _ascii_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise FetchError("only http and https addresses are fetched")
    if parts.username is not None:
        raise FetchError("a user name in the address is not supported")
    host = parts.netloc
    if not parts.hostname:
        raise FetchError("the address names no host")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    keep = "%/:=&?~+!$,;'@()*[]"
    return urlunsplit((parts.scheme, host, quote(parts.path, keep), quote(parts.query, keep), ""))
