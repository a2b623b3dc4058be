"""A call's whole life on the calling side, from top to bottom.

    call        the deadline and the request id are settled; the call is counted, once
      retry     at most one, only if the server did nothing, elsewhere, out of a shared budget
        attempt an endpoint is chosen and answers for the outcome
          lease     a connection of its own, destroyed on any doubt
            exchange    request out, reply in; the reply must be this call's

That order is the decision: what is inside is seen by what is outside and never the other way round. The
generated client is not used, because it takes whatever reply comes for its own.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType, TracebackType
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TTransport import TTransportException

from tidings.deadline import Deadline, DeadlineExceeded, current_deadline
from tidings.rpc.balance import Balancer, Endpoint
from tidings.rpc.errors import CallerFault, RpcError, ServerFault, TransportFault, from_reply, party
from tidings.rpc.policy import Policy, RetryBudget
from tidings.rpc.pool import PoolExhausted
from tidings.rpc.protocol import BUDGET, CALLER, LEAVING, REQUEST_ID
from tidings.rpc.service import Method, methods_of
from tidings.rpc.transport import Connection, require_codec
from tidings.telemetry import accept_request_id

_CALLS = Counter("tidings_rpc_client_calls", "Calls, by whose fault they failed", ["method", "outcome"])
_ATTEMPTS = Counter("tidings_rpc_client_attempts", "Attempts to answer calls", ["endpoint", "outcome"])
_RETRIES = Counter("tidings_rpc_client_retries", "Second attempts", ["method"])
_SECONDS = Histogram(
    "tidings_rpc_client_call_seconds",
    "How long calls took, retries included",
    ["method"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
_MAX_SEQID = 0x7FFFFFFF
_ENDPOINT_FAILED = (ServerFault, TransportFault, DeadlineExceeded)


class ForkedClient(RuntimeError):
    """The process forked after this client was used: parent and child would read each other's replies."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: Method
    request: Any
    deadline: Deadline
    request_id: bytes


class Client:
    """Calls the methods of one service. Safe for threads; connects on first use, which must follow any fork."""

    def __init__(self, service: ModuleType, balancer: Balancer, policy: Policy, caller: str) -> None:
        self._methods = methods_of(service)
        self._balancer = balancer
        self._policy = policy
        self._caller = caller.encode()
        self._retries = RetryBudget(policy)
        self._seqids = itertools.count(1)
        self._pid: int | None = None

    def call(self, method: str, request: Any, deadline: Deadline | None = None) -> Any:
        """Call `method` with its one argument; returns what the service returned.

        The time allowed ends at the earliest of `deadline`, the current deadline and the policy's time-out.

        Raises:
            CallerFault, Expected, ServerFault: the service said so.
            TransportFault: nobody can say what became of the call, unless its `sent` is False.
            DeadlineExceeded: there was no answer in time.
            ForkedClient: this client belongs to another process.
        """
        self._refuse_after_fork()
        call = _Call(self._methods[method], request, self._soonest(deadline), _request_id())
        started_s = time.monotonic()
        outcome = "unclassified"
        try:
            result = self._call_with_retry(call)
            outcome = "ok"
            return result
        except (RpcError, DeadlineExceeded) as ex:
            outcome = party(ex)
            raise
        finally:
            calls, seconds = _metrics(method, outcome)
            calls.inc()
            seconds.observe(time.monotonic() - started_s)

    def close(self) -> None:
        """Close every connection; calls after this fail."""
        self._balancer.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_after_fork(self) -> None:
        # Before any lock is taken: another thread may have held it when the process forked.
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise ForkedClient("made before a fork and used on both sides of it; make one client in each process")

    def _soonest(self, deadline: Deadline | None) -> Deadline:
        candidates = [Deadline.after_ms(self._policy.timeout_ms), deadline, current_deadline()]
        return min((given for given in candidates if given is not None), key=lambda given: given.at_s)

    def _call_with_retry(self, call: _Call) -> Any:
        self._retries.count_call()
        endpoint = self._balancer.pick(call.deadline)
        try:
            return self._attempt(call, endpoint)
        except RpcError as ex:
            # NOTE: a TransportFault is retryable only if nothing was sent.
            other = self._other_than(endpoint) if ex.retryable and call.deadline.remaining_ms() >= 1 else None
            if other is None:
                raise
        _RETRIES.labels(call.method.name).inc()
        return self._attempt(call, other)

    def _other_than(self, failed: Endpoint) -> Endpoint | None:
        """Where to try again; None if there is no other endpoint, or the budget for retries is spent."""
        other = self._balancer.pick_other(failed)
        if other is not None and not self._retries.take():
            self._balancer.done(other, healthy=None)
            return None
        return other

    def _attempt(self, call: _Call, endpoint: Endpoint) -> Any:
        outcome = "unclassified"
        healthy: bool | None = None
        try:
            with endpoint.pool.lease(call.deadline) as connection:
                reply = self._exchange(call, connection)
            if connection.peer_is_leaving:
                self._balancer.leave_alone(endpoint)
            else:
                healthy = True
            result = _unwrap(call.method, reply)
            outcome = "ok"
            return result
        except (RpcError, DeadlineExceeded) as ex:
            outcome = party(ex)
            # An endpoint that fails fast has few calls in flight and would draw all of them: that counts too.
            if isinstance(ex, _ENDPOINT_FAILED) and not isinstance(ex, PoolExhausted):
                healthy = False
            raise
        finally:
            self._balancer.done(endpoint, healthy=healthy)
            _attempts(endpoint.name, outcome).inc()

    def _exchange(self, call: _Call, connection: Connection) -> Any:
        """The result struct or `TApplicationException` that came back. Whatever is raised spoils the connection."""
        name = call.method.name
        budget_ms = int(call.deadline.remaining_ms())
        if budget_ms < 1:
            raise DeadlineExceeded(f"{name}: no time is left to ask")
        protocol, transport = connection.protocol, connection.transport
        protocol.allow_until(call.deadline.at_s)
        seqid = next(self._seqids) & _MAX_SEQID
        try:
            protocol.set_header(BUDGET, b"%d" % budget_ms)
            protocol.set_header(REQUEST_ID, call.request_id)
            protocol.set_header(CALLER, self._caller)
            protocol.writeMessageBegin(name, TMessageType.CALL, seqid)
            call.method.args_type(call.request).write(protocol)
            protocol.writeMessageEnd()
        except Exception as ex:
            raise CallerFault(f"{name}: the request cannot be encoded: {ex}", code=400) from ex
        try:
            protocol.flush()
            return _read_reply(call.method, connection, seqid)
        except TTransportException as ex:
            if ex.type == TTransportException.TIMED_OUT:
                raise DeadlineExceeded(f"{name}: no answer in {budget_ms} ms") from ex
            if ex.type == TTransportException.SIZE_LIMIT and not transport.sent_bytes:
                raise CallerFault(f"{name}: the request is too long", code=413) from ex
            raise TransportFault(f"{name}: {ex}", sent=transport.sent_bytes > 0) from ex
        except RpcError:
            raise
        except Exception as ex:
            raise TransportFault(f"{name}: the reply cannot be decoded: {ex}", sent=True) from ex


@lru_cache(maxsize=1024)
def _metrics(method: str, outcome: str) -> tuple[Counter, Histogram]:
    # PERF: finding a metric by its labels costs more than adding to it. The names come from small sets.
    return _CALLS.labels(method, outcome), _SECONDS.labels(method)


@lru_cache(maxsize=1024)
def _attempts(endpoint: str, outcome: str) -> Counter:
    return _ATTEMPTS.labels(endpoint, outcome)


def _request_id() -> bytes:
    """That of the work at hand, or a new one. Two attempts of one call bear the same."""
    return accept_request_id(structlog.contextvars.get_contextvars().get("request_id")).encode()


def _read_reply(method: Method, connection: Connection, seqid: int) -> Any:
    name, kind, got_seqid = connection.read_message_begin()
    protocol = connection.protocol
    if got_seqid != seqid or name != method.name:
        raise TransportFault(f"{method.name}: the reply belongs to another call", sent=True)
    if kind == TMessageType.REPLY:
        reply = method.result_type()
    elif kind == TMessageType.EXCEPTION:
        reply = TApplicationException()
    else:
        raise TransportFault(f"{method.name}: the peer sent a message of type {kind}, not a reply", sent=True)
    reply.read(protocol)
    protocol.readMessageEnd()
    connection.peer_is_leaving = LEAVING in protocol.headers()
    connection.is_doubtful = connection.peer_is_leaving or protocol.has_unread()
    return reply


def _unwrap(method: Method, reply: Any) -> Any:
    """The value in `reply`, or the failure in it, raised."""
    if isinstance(reply, TApplicationException):
        raise ServerFault(f"{method.name}: {reply}", code=500)
    for _, field in method.throws:
        raised = getattr(reply, field)
        if raised is not None:
            raise from_reply(raised)
    if not method.returns:
        return None
    if reply.success is None:
        raise ServerFault(f"{method.name}: the service answered with nothing", code=500)
    return reply.success


def make_client(service: ModuleType, endpoints: Sequence[str], *, policy: Policy, caller: str) -> Client:
    """A client of a generated service module.

    Args:
        endpoints: each `host:port` or `unix:/path`; a host name stands for all its addresses.
        caller: the name of this process, for the server's logs.

    Raises:
        SettingsError: an endpoint is malformed, or Thrift's C codec is missing.
    """
    require_codec()
    return Client(service, Balancer(endpoints, policy), policy, caller)
