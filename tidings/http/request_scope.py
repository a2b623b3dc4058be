"""What surrounds every request: its id, its deadline, its one log line and its metrics.

Time runs from when the server could have read the request, so that a wait for a free thread is part
of it: the server says in `environ["tidings.readable_s"]` when that was, on the monotonic clock. The
deadline and the request id live in context variables of the serving thread, so SQL, Redis and
Thrift calls behind the door find them without being handed them. One canonical line is written when
the answer is known, with all that is worth knowing about it; a server's access log would know none
of that.

    app.add_middleware(RequestScope(2000))
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus

import falcon
import structlog
from prometheus_client import Counter, Histogram

from tidings.process.deadline import Deadline, deadline_scope
from tidings.process.logs import accept_request_id

REQUEST_ID = "X-Request-Id"
UNROUTED = "(none)"
READABLE_S = "tidings.readable_s"
_QUIET_ROUTES = ("/health/live", "/health/ready")
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
# An address is personal, so it is written down only for those that were turned away, whom an
# operator may have to shut out.
_ADDRESS_TOLD = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

REQUESTS = Counter("tidings_http_requests", "Requests answered", ["route", "method", "status"])
SECONDS = Histogram(
    "tidings_http_request_seconds",
    "From when the request could be read to its answer",
    ["route"],
    buckets=_BUCKETS,
)
QUEUE_SECONDS = Histogram(
    "tidings_http_queue_seconds",
    "From when the request could be read to when work on it began, or it was refused",
    buckets=_BUCKETS,
)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request whose answer is known.

    Attributes:
        readable_s: when it could be read, on the monotonic clock.
        queue_s: what of the time since then it waited.
        address: of the client, "" where it has none.
    """

    route: str
    method: str
    status: int
    readable_s: float
    queue_s: float
    address: str


class RequestScope:
    """Falcon middleware, the first of all.

    Args:
        deadline_ms: what one request may take with everything in it.
    """

    def __init__(self, deadline_ms: int) -> None:
        self._deadline_ms = deadline_ms

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raises:
        DeadlineExceededError: reading the request took all of its time.
        """
        self._begin(req, resp).check()

    def _begin(self, req: falcon.Request, resp: falcon.Response) -> Deadline:
        request_id = request_id_of(req)
        scope = ExitStack()
        scope.enter_context(structlog.contextvars.bound_contextvars(request_id=request_id))
        started_s = time.monotonic()
        readable_s = req.env.get(READABLE_S, started_s)
        deadline = Deadline(readable_s + self._deadline_ms / 1000)
        scope.enter_context(deadline_scope(deadline))
        req.context.readable_s = readable_s
        req.context.queue_s = started_s - readable_s
        req.context.scope = scope
        resp.set_header(REQUEST_ID, request_id)
        resp.set_headers(SECURITY_HEADERS)
        return deadline

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        # Falcon refuses some requests before any middleware has seen them.
        scope: ExitStack | None = getattr(req.context, "scope", None)
        if scope is None:
            self._begin(req, resp)
            scope = req.context.scope
        with scope:
            known = {
                name: value
                for name in ("reader_id", "key", "served_from", "events", "problem")
                if (value := getattr(req.context, name, None)) is not None
            }
            answered = Answered(
                route=req.uri_template or UNROUTED,
                method=req.method,
                status=resp.status_code,
                readable_s=req.context.readable_s,
                queue_s=req.context.queue_s,
                address=req.remote_addr,
            )
            tell_request(answered, known)


def request_id_of(req: falcon.Request) -> str:
    """The id of a request: as it came, where that is well formed, or a new one. Once told it
    stays, also for a request that Falcon refuses before the middleware."""
    known: str | None = getattr(req.context, "request_id", None)
    if known is None:
        known = req.context.request_id = accept_request_id(req.get_header(REQUEST_ID))
    return known


def count_request(answered: Answered) -> float:
    """Count a request that is answered; the seconds it took."""
    method = answered.method if answered.method in falcon.HTTP_METHODS else UNROUTED
    seconds = time.monotonic() - answered.readable_s
    REQUESTS.labels(answered.route, method, answered.status).inc()
    SECONDS.labels(answered.route).observe(seconds)
    QUEUE_SECONDS.observe(answered.queue_s)
    return seconds


def tell_request(answered: Answered, known: Mapping[str, object]) -> None:
    """Count a request that is answered, and write its line with all that is known of it."""
    seconds = count_request(answered)
    write = log.debug if answered.route in _QUIET_ROUTES else log.info
    where = {"address": answered.address} if answered.status in _ADDRESS_TOLD else {}
    write(
        "request",
        method=answered.method if answered.method in falcon.HTTP_METHODS else UNROUTED,
        route=answered.route,
        status=answered.status,
        duration_ms=round(seconds * 1000, 2),
        queue_ms=round(answered.queue_s * 1000, 2),
        **known,
        **where,
    )
