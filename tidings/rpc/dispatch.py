"""One call's life on the serving side: request in, handler, reply out.

It stands where Thrift's generated processor would. That one re-raises a handler's transport errors as if the
caller had gone, lets SystemExit kill the thread, and leaves half a reply in the buffer when encoding fails.
Whatever happens in a handler here, the caller gets an answer that says whose fault it was and nothing else.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TTransport import TTransportException

from tidings.deadline import Deadline, deadline_scope
from tidings.rpc.errors import ErrorTable, party, too_late, translate, unavailable
from tidings.rpc.protocol import BUDGET, CALLER, LEAVING, REQUEST_ID, Protocol
from tidings.rpc.service import Method
from tidings.telemetry import accept_request_id
from tidings_idl.base.ttypes import Error

_CALLS = Counter("tidings_rpc_server_calls", "Calls, by whose fault they failed", ["method", "outcome"])
_SECONDS = Histogram(
    "tidings_rpc_server_call_seconds",
    "How long calls took, from request decoded to reply written",
    ["method"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
_IN_FLIGHT = Gauge("tidings_rpc_server_in_flight", "Calls being answered", multiprocess_mode="livesum")

_log = structlog.get_logger()
_CALLER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFUSED = "refused"
_WORTH_A_LINE = ("server_fault", "transport_fault", "deadline_exceeded")
_BUDGET_MS = re.compile(rb"[0-9]{1,9}")
_HEALTH = "is_healthy"


@dataclass(frozen=True, slots=True)
class CallRules:
    """Attributes:
    max_in_flight: calls answered at once; the next one gets a retryable 503.
    io_timeout_s: a request that has begun is read, and a reply written, within this.
    min_budget_ms: work with less time than this left is refused.
    max_budget_ms: the time given to callers that name none, and the most given to any.
    slow_ms: calls that took longer are logged.
    """

    max_in_flight: int
    io_timeout_s: float
    min_budget_ms: int
    max_budget_ms: int
    slow_ms: int


class Dispatcher(TProcessor):  # type: ignore[misc]  # thrift has no annotations
    """Answers the calls of one service, of every connection; health questions it answers itself.

    Args:
        handler: has a method for each of the service's, but for `is_healthy`.
        answer_probe: asked for health, with the number of the probe.

    Attributes:
        is_leaving: set when this process is about to stop; replies tell it to clients of ours, which then
            call elsewhere before their connections close.

    Raises:
        TypeError: the handler lacks a method.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        handler: object,
        errors: ErrorTable,
        rules: CallRules,
        answer_probe: Callable[[int], bool],
    ) -> None:
        self._methods = methods
        missing = [name for name in methods if name != _HEALTH and not callable(getattr(handler, name, None))]
        if missing:
            raise TypeError(f"{type(handler).__name__} lacks {', '.join(sorted(missing))}")
        self._functions: dict[str, Callable[[Any], Any]] = {
            name: answer_probe if name == _HEALTH else getattr(handler, name) for name in methods
        }
        self._errors = errors
        self._rules = rules
        self._free_slots = rules.max_in_flight
        self._lock = threading.Lock()
        self.is_leaving = False

    @property
    def is_full(self) -> bool:
        """True while one more call would be refused."""
        return self._free_slots <= 0

    def process(self, protocol: Protocol, _: Protocol | None = None, *, refusal: str = "") -> None:
        """Read one request and answer it; with a `refusal`, answer with that as a retryable 503.

        Raises:
            Exception: the peer is gone, or does not speak Thrift; the connection is of no more use.
        """
        protocol.allow_until(time.monotonic() + self._rules.io_timeout_s)
        name, kind, seqid = protocol.readMessageBegin()
        if kind != TMessageType.CALL:
            raise TApplicationException(TApplicationException.INVALID_MESSAGE_TYPE, f"message type {kind}")
        method = self._methods.get(name)
        if method is None:
            _answer_unknown(protocol, name, seqid)
            return
        arguments = method.args_type()
        arguments.read(protocol)
        protocol.readMessageEnd()
        headers = protocol.headers()
        caller = headers.get(CALLER, b"").decode(errors="replace")
        # PERF: never unbound, because this thread serves calls only, and the next one binds its own.
        structlog.contextvars.bind_contextvars(
            request_id=accept_request_id(headers.get(REQUEST_ID, b"").decode(errors="replace")),
            caller=caller if _CALLER.fullmatch(caller) else "unknown",
        )
        self._answer(protocol, method, seqid, arguments, refusal)

    def _answer(self, protocol: Protocol, method: Method, seqid: int, arguments: Any, refusal: str) -> None:
        started_s = time.monotonic()
        argument = getattr(arguments, arguments.__slots__[0])
        if method.name == _HEALTH:
            reply = Reply(method, value=self._functions[_HEALTH](argument))
        elif refusal:
            reply = Reply(method, failure=unavailable(refusal), outcome=_REFUSED)
        else:
            reply = self._run(method, argument, self._budget_ms(protocol.headers()))
        protocol.allow_until(time.monotonic() + self._rules.io_timeout_s)
        if self.is_leaving:
            protocol.set_header(LEAVING, b"1")
        try:
            reply = _send(protocol, seqid, reply)
        finally:
            self._record(reply, (time.monotonic() - started_s) * 1000)

    def _run(self, method: Method, argument: Any, budget_ms: int) -> Reply:
        if budget_ms < self._rules.min_budget_ms:
            return Reply(method, failure=too_late(), outcome=_REFUSED)
        if not self._take_slot():
            return Reply(method, failure=unavailable("too many calls at once"), outcome=_REFUSED)
        try:
            with deadline_scope(Deadline.after_ms(budget_ms)):
                value = self._functions[method.name](argument)
        except Exception as ex:  # noqa: BLE001 - translated, or logged and counted as unclassified
            return Reply(method, failure=self._translated(ex))
        except BaseException as ex:  # noqa: BLE001 - SystemExit: the thread would go and the caller wait
            return Reply(method, failure=ex)
        finally:
            self._give_slot_back()
        if method.returns and value is None:
            return Reply(method, failure=TypeError("the handler returned None"))
        return Reply(method, value=value)

    def _translated(self, ex: Exception) -> Exception:
        try:
            return translate(ex, self._errors) or ex
        except Exception as bug:  # noqa: BLE001 - in a translation: it is logged, with what it was to translate
            return bug

    def _take_slot(self) -> bool:
        with self._lock:
            if self._free_slots <= 0:
                return False
            self._free_slots -= 1
        _IN_FLIGHT.inc()
        return True

    def _give_slot_back(self) -> None:
        with self._lock:
            self._free_slots += 1
        _IN_FLIGHT.dec()

    def _budget_ms(self, headers: Mapping[bytes, bytes]) -> int:
        given = headers.get(BUDGET)
        if given is None or not _BUDGET_MS.fullmatch(given):
            return self._rules.max_budget_ms
        return min(int(given), self._rules.max_budget_ms)

    def _record(self, reply: Reply, took_ms: float) -> None:
        method, outcome = reply.method.name, reply.outcome
        _CALLS.labels(method, outcome).inc()
        _SECONDS.labels(method).observe(took_ms / 1000)
        line = {"method": method, "outcome": outcome, "took_ms": round(took_ms, 2)}
        if isinstance(reply.failure, Error):
            line["error"] = reply.failure.message
        if outcome == "unclassified":
            _log.error("rpc call", **line, exc_info=reply.failure)
        elif outcome in _WORTH_A_LINE or took_ms > self._rules.slow_ms:
            _log.info("rpc call", **line)
        else:
            _log.debug("rpc call", **line)


@lru_cache(maxsize=1024)
def _metrics(method: str, outcome: str) -> tuple[Counter, Histogram]:
    # PERF: finding a metric by its labels costs more than adding to it. Both names come from a small set.
    return _CALLS.labels(method, outcome), _SECONDS.labels(method)


class Reply:
    """What a call came to: a value, or a failure and whose it was."""

    __slots__ = ("failure", "method", "outcome", "value")

    def __init__(
        self, method: Method, *, value: Any = None, failure: BaseException | None = None, outcome: str = ""
    ) -> None:
        self.method = method
        self.value = value
        self.failure = failure
        self.outcome = outcome or ("ok" if failure is None else party(failure))

    def as_message(self) -> tuple[int, Any]:
        """The message's type and its struct. A failure the IDL does not declare becomes an internal error."""
        result = self.method.result_type()
        if self.failure is None:
            if self.method.returns:
                result.success = self.value
            return TMessageType.REPLY, result
        field = self.method.field_of(self.failure) if isinstance(self.failure, Error) else None
        if field is None:
            return TMessageType.EXCEPTION, _internal_error()
        setattr(result, field, self.failure)
        return TMessageType.REPLY, result


def _send(protocol: Protocol, seqid: int, reply: Reply) -> Reply:
    """Send `reply`, or an internal error in the place of one that cannot be encoded; returns what was sent."""
    try:
        _write(protocol, reply.method.name, seqid, *reply.as_message())
        return reply
    except TTransportException as ex:
        if ex.type != TTransportException.SIZE_LIMIT:
            raise
        unsendable: Exception = ex
    except Exception as ex:  # noqa: BLE001 - a number out of range, or a value that is no such struct
        unsendable = ex
    protocol.start_over()
    _write(protocol, reply.method.name, seqid, TMessageType.EXCEPTION, _internal_error())
    return Reply(reply.method, failure=unsendable)


def _write(protocol: Protocol, name: str, seqid: int, kind: int, struct: Any) -> None:
    protocol.writeMessageBegin(name, kind, seqid)
    struct.write(protocol)
    protocol.writeMessageEnd()
    protocol.flush()


def _internal_error() -> Any:
    return TApplicationException(TApplicationException.INTERNAL_ERROR, "internal error")


def _answer_unknown(protocol: Protocol, name: str, seqid: int) -> None:
    protocol.skip(TType.STRUCT)
    protocol.readMessageEnd()
    _CALLS.labels("unknown", "caller_fault").inc()
    failure = TApplicationException(TApplicationException.UNKNOWN_METHOD, "there is no such method")
    _write(protocol, name, seqid, TMessageType.EXCEPTION, failure)
