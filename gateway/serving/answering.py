"""One whole request, from its bytes to those of its answer; runs in a thread, and never waits for
the client.

gunicorn's strict parser reads the request and gunicorn's own code makes the WSGI environment; what
it refuses becomes a problem like any other. The body is read before the app begins, so that broken
chunks are the client's fault and not an exception in the middle of the app. Rejected: handing the
app the socket, where every read and every write may wait for a client that sleeps.

    answer = answering.answer(request, conn)  # answer.data goes over the wire
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from gunicorn.http import wsgi
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.parser import RequestParser

from gateway.serving.refusals import Arrival, refuse
from tidings.http.errors import (
    ExpectationError,
    HeadTooLargeError,
    MalformedRequestError,
    TargetTooLongError,
)
from tidings.http.proxies import Proxies
from tidings.http.request_scope import READABLE_S

_HOST = re.compile(r"(?:[\w.~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
_TOO_LARGE = "413"
_SHOWN_CHARS = 200
_REFUSED = {
    LimitRequestLine: TargetTooLongError,
    LimitRequestHeaders: HeadTooLargeError,
    ExpectationFailed: ExpectationError,
}

log = structlog.get_logger(__name__)


class Peer(Protocol):
    """Who is at the other end of a connection, as the system names the two ends."""

    client: Any
    server: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire, and whether the connection goes on after it."""

    data: bytes
    keeps: bool


class Answering:
    """The app, and what stands between it and the bytes.

    Args:
        cfg: gunicorn's settings.
        app: the WSGI app.

    Attributes:
        ends: the process is about to end, so each answer is the last of its connection.
    """

    def __init__(self, cfg: Any, app: Any, proxies: Proxies) -> None:
        self._cfg = cfg
        self._app = app
        self._proxies = proxies
        self.ends = False

    def answer(self, arrival: Arrival, peer: Peer) -> Answer:
        """Answer it, whatever it is."""
        try:
            request, body = self._parse(arrival.data, peer)
        except MalformedRequestError as ex:
            return Answer(refuse(ex, arrival), keeps=False)
        except (ParseException, NoMoreData, StopIteration) as ex:
            return Answer(refuse(_translate(ex), arrival), keeps=False)
        try:
            return self._run(request, body, peer, readable_s=arrival.readable_s)
        except Exception as ex:
            # The app answers its own failures; this is one of the code around it.
            log.exception("unexpected_error")
            return Answer(refuse(ex, arrival), keeps=False)

    def _parse(self, data: bytes, peer: Peer) -> tuple[Any, bytes]:
        parser = RequestParser(self._cfg, iter((data,)), peer.client)
        request = next(parser)
        body: bytes = request.body.read()
        if parser.unreader.take_buffered():
            raise MalformedRequestError("it does not end where its headers say")
        _check_host(request)
        return request, body

    def _run(self, request: Any, body: bytes, peer: Peer, *, readable_s: float) -> Answer:
        wire = _Wire()
        # It is there already; who waited for the word was given it.
        request._expected_100_continue = False
        response, environ = wsgi.create(
            request, wire, peer.client, peer.server, self._cfg, response_class=_Response
        )
        environ["wsgi.multithread"] = True
        environ["wsgi.input"] = io.BytesIO(body)
        environ[READABLE_S] = readable_s
        if not request.uri.startswith("/") and (host := _authority(request.uri)):
            environ["HTTP_HOST"] = host
        self._proxies.settle(environ)
        parts = self._app(environ, response.start_response)
        if self.ends:
            response.force_close()
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return Answer(b"".join(wire.parts), keeps=not response.should_close())


class _Wire:
    """A socket to gunicorn: it takes all that is sent, and keeps it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


class _Response(wsgi.Response):  # type: ignore[misc] # gunicorn carries no annotations
    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """After a body that was too large, a client may be in the middle of sending it."""
        if status.startswith(_TOO_LARGE):
            self.force_close()
        return super().start_response(status, headers, exc_info)

    def default_headers(self) -> list[str]:
        """Without the name of the program, which helps those alone who look for its faults."""
        return [line for line in super().default_headers() if not line.startswith("Server:")]


def _translate(ex: Exception) -> Exception:
    kind = next((kind for known, kind in _REFUSED.items() if isinstance(ex, known)), None)
    if isinstance(ex, NoMoreData | StopIteration):
        return MalformedRequestError("it ends too early")
    return (kind or MalformedRequestError)(str(ex)[:_SHOWN_CHARS])


def _check_host(request: Any) -> None:
    """Raises:
    MalformedRequestError: no client could mean this host.
    """
    hosts = [value for name, value in request.headers if name == "HOST"]
    if not hosts and request.version >= (1, 1):
        raise MalformedRequestError("the Host header is missing")
    if not request.uri.startswith("/"):
        hosts.append(_authority(request.uri) or "-")
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise MalformedRequestError("the host is none")


def _authority(uri: str) -> str:
    """The host in a target that names one, as a proxy is asked: it counts, and the header does
    not."""
    try:
        return urlsplit(uri).netloc if "://" in uri else ""
    except ValueError:
        return "?"
