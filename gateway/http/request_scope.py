"""What surrounds every request: its id, its deadline, its one log line and its metrics.

The deadline and the request id live in context variables of the serving thread, so SQL, Redis and
Thrift calls behind the door find them without being handed them. One canonical line is written when
the answer is known, with all that is worth knowing about it; a server's access log would know none
of that.

    app.add_middleware(RequestScope(deadline_ms=2000))
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import falcon
import structlog
from prometheus_client import Counter, Histogram

from tidings.process.deadline import Deadline, deadline_scope
from tidings.process.logs import accept_request_id

REQUEST_ID = "X-Request-Id"
UNROUTED = "(none)"
PROCESS = "gateway"
_QUIET_ROUTES = ("/health/live", "/health/ready")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

REQUESTS = Counter("tidings_http_requests", "Requests answered", ["route", "method", "status"])
SECONDS = Histogram(
    "tidings_http_request_seconds",
    "From the request's headers to its answer",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
log = structlog.get_logger("gateway.request")


class RequestScope:
    """Falcon middleware, the first of all.

    Args:
        deadline_ms: what one request may take with everything in it.
    """

    def __init__(self, deadline_ms: int) -> None:
        self._deadline_ms = deadline_ms

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        request_id = accept_request_id(req.get_header(REQUEST_ID))
        scope = ExitStack()
        # A pool's threads do not inherit what the main thread has bound.
        scope.enter_context(
            structlog.contextvars.bound_contextvars(process=PROCESS, request_id=request_id)
        )
        scope.enter_context(deadline_scope(Deadline.after_ms(self._deadline_ms)))
        req.context.request_id = request_id
        req.context.started_s = time.monotonic()
        req.context.scope = scope
        resp.set_header(REQUEST_ID, request_id)
        resp.set_headers(_SECURITY)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        # Falcon refuses some requests before any middleware has seen them.
        scope: ExitStack | None = getattr(req.context, "scope", None)
        if scope is None:
            self.process_request(req, resp)
            scope = req.context.scope
        with scope:
            self._tell(req, resp)

    def _tell(self, req: falcon.Request, resp: falcon.Response) -> None:
        route = req.uri_template or UNROUTED
        method = req.method if req.method in falcon.HTTP_METHODS else UNROUTED
        seconds = time.monotonic() - req.context.started_s
        status = resp.status_code
        REQUESTS.labels(route, method, status).inc()
        SECONDS.labels(route).observe(seconds)
        known = {
            name: value
            for name in ("reader_id", "served_from", "events", "problem")
            if (value := getattr(req.context, name, None)) is not None
        }
        write = log.debug if route in _QUIET_ROUTES else log.info
        write(
            "request",
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            **known,
        )
