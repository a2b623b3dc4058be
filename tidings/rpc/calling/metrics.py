"""The observer that our own processes give their clients: counters, and lines in the log.

Rejected: counting in the client itself, which would bring prometheus_client to every program that
calls us.

    make_client(UserRecommend, endpoints, policy=policy, caller="gateway", observer=METRICS)
"""

from __future__ import annotations

import structlog
from prometheus_client import Counter, Gauge

from tidings.process.logs import accept_request_id, log_variable
from tidings.process.tally import Seconds, Tally
from tidings.rpc.calling.observer import Heap, Observer

_CALLS = Counter(
    "tidings_rpc_client_calls", "Calls, by whose fault they failed", ["method", "outcome"]
)
_SECONDS = Seconds(
    "tidings_rpc_client_call_seconds",
    "How long calls took, retries included",
    ["method"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
_RETRIES = Counter("tidings_rpc_client_retries", "Second attempts", ["method"])
_ATTEMPTS = Counter(
    "tidings_rpc_client_attempts", "Attempts to answer calls", ["endpoint", "outcome"]
)
_EJECTIONS = Counter(
    "tidings_rpc_client_ejections", "Endpoints left alone after failing", ["endpoint"]
)
_OPEN = Gauge(
    "tidings_rpc_client_connections", "Open connections to servers", multiprocess_mode="livesum"
)
_DESTROYED = Counter(
    "tidings_rpc_client_connections_destroyed", "Connections not used again, and why", ["reason"]
)
_calls, _attempts = Tally(_CALLS, _SECONDS), Tally(_ATTEMPTS)
_request_id_in_logs = log_variable("request_id")
_log = structlog.get_logger()


class Metrics(Observer):
    """Counts for every client of this process; `METRICS` is the one there is."""

    # PERF: the very method, which is a call less for each call.
    called = staticmethod(_calls.add)

    def request_id(self) -> str | None:
        known = _request_id_in_logs.get(None)
        return accept_request_id(known) if isinstance(known, str) else None

    def retried(self, method: str) -> None:
        _RETRIES.labels(method).inc()

    def attempted(self, endpoint: str, outcome: str) -> None:
        _attempts.add(endpoint, outcome, 0.0)

    def answers_of(self, endpoint: str) -> Heap:
        return _attempts.pending(endpoint, "ok")  # bounded, as calls are, which hand all over

    def ejected(self, endpoint: str) -> None:
        _EJECTIONS.labels(endpoint).inc()

    def not_resolved(self, endpoint: str, ex: OSError) -> None:
        _log.warning("rpc_endpoint_not_resolved", endpoint=endpoint, error=str(ex))

    def opened(self) -> None:
        _OPEN.inc()

    def closed(self, reason: str) -> None:
        _OPEN.dec()
        _DESTROYED.labels(reason).inc()


METRICS = Metrics()
