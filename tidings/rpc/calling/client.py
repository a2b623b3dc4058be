"""A call's whole life on the calling side, from top to bottom.

    call        the deadline and the request id are settled; the call is counted, once
      retry     at most one, only if the server did nothing, elsewhere, out of a shared budget
        attempt an endpoint is chosen and answers for the outcome
          lease     a connection of its own, destroyed on any doubt
            exchange    request out, reply in; the reply must be this call's

That order is the decision: what is inside is seen by what is outside and never the other way round.
The generated client is not used, because it takes any reply that comes for its own.

    client = make_client(UserRecommend, endpoints, policy=Policy(), caller="reports")
    client.call("user_recommend", UserRequest(user_id=7))
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Any

from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TTransport import TTransportException

from tidings.process.deadline import Deadline, DeadlineExceededError, get_current_deadline
from tidings.rpc.calling.balance import Balancer, Endpoint
from tidings.rpc.calling.connection import Connection
from tidings.rpc.calling.observer import SILENT, Observer
from tidings.rpc.calling.policy import Policy, RetryBudget
from tidings.rpc.calling.pool import PoolExhaustedError
from tidings.rpc.errors import (
    CallerFaultError,
    RpcError,
    ServerFaultError,
    TransportFaultError,
    from_reply,
    party,
)
from tidings.rpc.wire.codec import require_codec
from tidings.rpc.wire.headers import LEAVING, SERVER_LEAVES
from tidings.rpc.wire.service import Method, methods_of

_MAX_SEQID = 0x7FFFFFFF
_ENDPOINT_FAILED = (ServerFaultError, TransportFaultError, DeadlineExceededError)


class ForkedClientError(RuntimeError):
    """The process forked after this client was used: parent and child would read each other's
    replies."""


class Client:
    """Calls the methods of one service. Safe for threads; connects on first use, which must follow
    any fork."""

    def __init__(
        self,
        service: ModuleType,
        balancer: Balancer,
        policy: Policy,
        *,
        caller: str,
        observer: Observer = SILENT,
    ) -> None:
        self._observer = observer
        self._called, self._known_request_id = observer.called, observer.request_id
        self._methods = methods_of(service)
        self._balancer = balancer
        self._timeout_s = policy.timeout_ms / 1000
        self._caller = caller.encode()
        self._retries = RetryBudget(policy)
        self._seqids = itertools.count(1)
        self._pid: int | None = None

    def call(self, method: str, request: Any, deadline: Deadline | None = None) -> Any:
        """Call `method` with its one argument; returns what the service returned.

        The time allowed ends at the earliest of `deadline`, the current deadline and the policy's
        time-out.

        Raises:
            CallerFaultError, ExpectedError, ServerFaultError: the service said so.
            TransportFaultError: what became of the call is unknown, unless its `sent` is False.
            DeadlineExceededError: there was no answer in time.
            ForkedClientError: this client belongs to another process.
        """
        if self._pid != os.getpid():
            self._adopt_process()
        started_s = time.monotonic()
        until = self._soonest(started_s, deadline)
        outcome = "unclassified"
        try:
            request_id = self._request_id()
            result = self._call_with_retry(self._methods[method], request, until, request_id)
            outcome = "ok"
            return result
        except (RpcError, DeadlineExceededError) as ex:
            outcome = party(ex)
            raise
        finally:
            self._called(method, outcome, time.monotonic() - started_s)

    def close(self) -> None:
        """Close every connection; calls after this fail."""
        self._balancer.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        ex: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _adopt_process(self) -> None:
        # Before any lock is taken: another thread may have held it when the process forked.
        if self._pid is not None:
            raise ForkedClientError(
                "made before a fork and used on both sides of it; make one client in each process"
            )
        self._pid = os.getpid()

    def _soonest(self, now_s: float, given: Deadline | None) -> Deadline:
        soonest = Deadline(now_s + self._timeout_s)
        if given is not None and given < soonest:
            soonest = given
        current = get_current_deadline()
        if current is not None and current < soonest:
            soonest = current
        return soonest

    def _request_id(self) -> bytes:
        """That of the work at hand, or a new one. Two attempts of one call bear the same."""
        known = self._known_request_id()
        if known is not None:
            return known.encode()
        return b"%016x" % random.getrandbits(64)  # PERF: it need not be a secret

    def _call_with_retry(
        self, method: Method, request: Any, deadline: Deadline, request_id: bytes
    ) -> Any:
        self._retries.count_call()
        endpoint = self._balancer.pick(deadline)
        try:
            return self._attempt(endpoint, method, request, deadline, request_id)
        except RpcError as ex:
            # NOTE: a TransportFaultError is retryable only if nothing was sent.
            other = (
                self._other_than(endpoint)
                if ex.retryable and deadline.remaining_ms() >= 1
                else None
            )
            if other is None:
                raise
        self._observer.retried(method.name)
        return self._attempt(other, method, request, deadline, request_id)

    def _other_than(self, failed: Endpoint) -> Endpoint | None:
        """Where to try again; None if there is no other endpoint, or the budget for retries is
        spent."""
        other = self._balancer.pick_other(failed)
        if other is not None and not self._retries.take():
            self._balancer.done(other, healthy=None)
            return None
        return other

    def _attempt(
        self,
        endpoint: Endpoint,
        method: Method,
        request: Any,
        deadline: Deadline,
        request_id: bytes,
    ) -> Any:
        outcome = "unclassified"
        healthy: bool | None = None
        try:
            with endpoint.pool.lease(deadline) as connection:
                reply = self._exchange(connection, method, request, deadline, request_id)
            if connection.peer_is_leaving:
                self._balancer.leave_alone(endpoint)
            else:
                healthy = True
            result = _unwrap(method, reply)
            outcome = "ok"
            return result
        except (RpcError, DeadlineExceededError) as ex:
            outcome = party(ex)
            # An endpoint that fails fast has few calls in flight and would draw all of them: that
            # counts too.
            if isinstance(ex, _ENDPOINT_FAILED) and not isinstance(ex, PoolExhaustedError):
                healthy = False
            raise
        finally:
            self._balancer.done(endpoint, healthy=healthy)
            endpoint.count(outcome)

    def _exchange(
        self,
        connection: Connection,
        method: Method,
        request: Any,
        until_s: float,
        request_id: bytes,
    ) -> Any:
        """The result struct or `TApplicationException` that came back. Any exception spoils
        the connection."""
        name = method.name
        budget_ms = int((until_s - time.monotonic()) * 1000)
        if budget_ms < 1:
            raise DeadlineExceededError(f"{name}: no time is left to ask")
        transport = connection.transport
        transport.begin_message(until_s)
        seqid = next(self._seqids) & _MAX_SEQID
        try:
            arguments = method.args_codec[0]()
            setattr(arguments, method.argument, request)
            context = b"%d" % budget_ms, request_id, self._caller
            connection.protocol.send_call(name, seqid, arguments, method.args_codec, context)
            return _read_reply(method, connection, seqid)
        except TTransportException as ex:
            if ex.type == TTransportException.TIMED_OUT:
                raise DeadlineExceededError(f"{name}: no answer in {budget_ms} ms") from ex
            if ex.type == TTransportException.SIZE_LIMIT and not transport.sent_bytes:
                raise CallerFaultError(f"{name}: the request is too long", code=413) from ex
            raise TransportFaultError(f"{name}: {ex}", sent=transport.sent_bytes > 0) from ex
        except RpcError:
            raise
        except Exception as ex:
            if not transport.sent_bytes:
                raise CallerFaultError(
                    f"{name}: the request cannot be encoded: {ex}", code=400
                ) from ex
            raise TransportFaultError(
                f"{name}: the reply cannot be decoded: {ex}", sent=True
            ) from ex


def _begin_reply(method: Method, connection: Connection, seqid: int) -> Any:
    """What the reply is to be read into, once it is sure that it is this call's."""
    name, kind, got_seqid = connection.read_message_begin()
    if got_seqid != seqid or name != method.name:
        raise TransportFaultError(f"{method.name}: the reply belongs to another call", sent=True)
    if kind == TMessageType.REPLY:
        return method.result_type()
    if kind == TMessageType.EXCEPTION:
        return TApplicationException()
    raise TransportFaultError(
        f"{method.name}: the peer sent a message of type {kind}, not a reply", sent=True
    )


def _read_reply(method: Method, connection: Connection, seqid: int) -> Any:
    reply = method.result_codec[0]()
    protocol = connection.protocol
    if protocol.read_reply(method.name, seqid, reply, method.result_codec):
        connection.peer_is_leaving = False
        connection.is_doubtful = protocol.has_unread()
        return reply
    reply = _begin_reply(method, connection, seqid)
    protocol = connection.protocol
    reply.read(protocol)
    protocol.readMessageEnd()
    leaving = protocol.headers().get(LEAVING)
    connection.peer_is_leaving = leaving == SERVER_LEAVES
    connection.is_doubtful = leaving is not None or protocol.has_unread()
    return reply


def _unwrap(method: Method, reply: Any) -> Any:
    """The value in `reply`, or the failure in it, raised."""
    if isinstance(reply, TApplicationException):
        raise ServerFaultError(f"{method.name}: {reply}", code=500)
    if method.returns and reply.success is not None:
        return reply.success
    for _, field in method.throws:
        raised = getattr(reply, field)
        if raised is not None:
            raise from_reply(raised)
    if method.returns:
        raise ServerFaultError(f"{method.name}: the service answered with nothing", code=500)
    return None


def make_client(
    service: ModuleType,
    endpoints: Sequence[str],
    *,
    policy: Policy,
    caller: str,
    observer: Observer = SILENT,
) -> Client:
    """A client of a generated service module.

    Args:
        endpoints: each `host:port` or `unix:/path`; a host name stands for all its addresses.
        caller: the name of this process, for the server's logs.
        observer: is told what becomes of the calls.

    Raises:
        SettingsError: an endpoint is malformed, or Thrift's C codec is missing.
    """
    require_codec()
    balancer = Balancer(endpoints, policy, observer)
    return Client(service, balancer, policy, caller=caller, observer=observer)
