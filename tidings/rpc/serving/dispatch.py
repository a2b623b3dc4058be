"""One call's life on the serving side: request in, handler, reply out.

It stands where Thrift's generated processor would. That one re-raises a handler's transport errors
as if the caller had gone, lets SystemExit kill the thread, and leaves half a reply in the buffer
when encoding fails. Here the caller always gets an answer, which says whose fault a failure was and
nothing else.

    Dispatcher(methods_of(UserRecommend), handler, errors={}, rules=rules, answer_probe=probe)
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TTransport import TTransportException

from tidings.process.deadline import Deadline, reset_current_deadline, set_current_deadline
from tidings.process.logs import SeldomLog, accept_request_id, log_variable
from tidings.process.tally import Level, Seconds, Tally
from tidings.rpc.errors import ErrorTable, party, too_late, translate, unavailable
from tidings.rpc.wire.encoded import Encoded
from tidings.rpc.wire.headers import LEAVING
from tidings.rpc.wire.protocol import Protocol
from tidings.rpc.wire.service import Method
from tidings_idl.base.ttypes import Error

_CALLS = Counter(
    "tidings_rpc_server_calls", "Calls, by whose fault they failed", ["method", "outcome"]
)
_SECONDS = Seconds(
    "tidings_rpc_server_call_seconds",
    "How long calls took, from request decoded to reply written",
    ["method"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
_IN_FLIGHT = Gauge(
    "tidings_rpc_server_in_flight", "Calls being answered", multiprocess_mode="livesum"
)
_calls = Tally(_CALLS, _SECONDS)

_log = structlog.get_logger()
_seldom = SeldomLog(_log)
_request_id_in_logs, _caller_in_logs = log_variable("request_id"), log_variable("caller")
_CALLER = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_REFUSED = "refused"
_WORTH_A_LINE = ("server_fault", "transport_fault", "deadline_exceeded")
_HEALTH = "is_healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """What a server's options say about one call.

    Attributes:
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
        leaving: `SERVER_LEAVES` or `WORKER_LEAVES` once this process is about to stop; replies tell
            it to clients of ours, which then call elsewhere, or on another connection, before
            theirs closes.

    Raises:
        TypeError: the handler lacks a method.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        handler: object,
        *,
        errors: ErrorTable,
        rules: CallRules,
        answer_probe: Callable[[int], bool],
    ) -> None:
        self._methods = methods
        missing = [
            name
            for name in methods
            if name != _HEALTH and not callable(getattr(handler, name, None))
        ]
        if missing:
            raise TypeError(f"{type(handler).__name__} lacks {', '.join(sorted(missing))}")
        self._functions: dict[str, Callable[[Any], Any]] = {
            name: answer_probe if name == _HEALTH else getattr(handler, name) for name in methods
        }
        self._errors = errors
        self._rules = rules
        self._io_timeout_s = rules.io_timeout_s
        self._min_budget_ms = rules.min_budget_ms
        self._max_budget_ms = rules.max_budget_ms
        self._slow_s = rules.slow_ms / 1000
        # A list, since taking from it and putting back are one step each of the interpreter's,
        # without a lock.
        self._free_slots = [None] * rules.max_in_flight
        self._in_flight = Level(_IN_FLIGHT, lambda: rules.max_in_flight - len(self._free_slots))
        self._logs_every_call = bool(_log.is_enabled_for(logging.DEBUG))
        self.leaving = b""

    @property
    def is_full(self) -> bool:
        """True while one more call would be refused."""
        return not self._free_slots

    def process(self, protocol: Protocol, _: Protocol | None = None, *, refusal: str = "") -> None:
        """Read one request and answer it; with a `refusal`, answer with that as a retryable 503.

        Raises:
            Exception: the peer is gone, or does not speak Thrift; the connection is of no more use.
        """
        protocol.allow_until(time.monotonic() + self._io_timeout_s)
        name, kind, seqid = protocol.readMessageBegin()
        if kind != TMessageType.CALL:
            raise TApplicationException(
                TApplicationException.INVALID_MESSAGE_TYPE, f"message type {kind}"
            )
        method = self._methods.get(name)
        if method is None:
            _answer_unknown(protocol, name, seqid)
            return
        arguments = method.args_codec[0]()
        protocol.read_arguments(arguments, method.args_codec)
        started_s = time.monotonic()
        budget, request_id, caller = protocol.context
        # They stand until the next call on this connection, which has this thread alone.
        _request_id_in_logs.set(_accept_request_id(request_id))
        _caller_in_logs.set(_accept_caller(caller))
        reply = self._reply_to(
            method, getattr(arguments, method.argument), budget, refusal, started_s
        )
        if reply.held_back_s:
            # Outside of the calls in flight: nobody waits behind this connection but its caller.
            time.sleep(reply.held_back_s)
        protocol.allow_until(time.monotonic() + self._io_timeout_s)
        try:
            kind, struct = reply.as_message()
            if self.leaving:
                protocol.set_header(LEAVING, self.leaving)
            protocol.send(name, kind, seqid, struct)
        except Exception as ex:  # noqa: BLE001 - a number out of range, or a value that is no such struct
            reply = self._send_instead(protocol, seqid, reply, ex)
        finally:
            took_s = time.monotonic() - started_s
            _calls.add(name, reply.outcome, took_s)
            if reply.outcome != "ok" or took_s > self._slow_s or self._logs_every_call:
                self._log_call(reply, took_s * 1000)

    def _reply_to(  # noqa: PLR0911 - as many ways to say no
        self, method: Method, argument: Any, budget: bytes | None, refusal: str, now_s: float
    ) -> Reply:
        if method.name == _HEALTH:
            return Reply(method, self._functions[_HEALTH](argument))
        if refusal:
            return Reply(method, None, unavailable(refusal), _REFUSED)
        budget_ms = _parse_budget(budget)
        budget_ms = min(budget_ms, self._max_budget_ms)
        if budget_ms < self._min_budget_ms:
            return Reply(method, None, too_late(), _REFUSED)
        try:
            slot = self._free_slots.pop()
        except IndexError:
            return Reply(method, None, unavailable("too many calls at once"), _REFUSED)
        deadline = set_current_deadline(Deadline(now_s + budget_ms / 1000))
        try:
            value = self._functions[method.name](argument)
        except Exception as ex:  # noqa: BLE001 - translated, or logged and counted as unclassified
            failed = _failed(method, self._translated(ex))
            hold_back_s = getattr(ex, "hold_back_s", 0.0)
            if hold_back_s:
                failed.held_back_s = min(hold_back_s, budget_ms / 2000)
            return failed
        except BaseException as ex:  # noqa: BLE001 - SystemExit: the thread would go and the caller wait
            return _failed(method, ex)
        finally:
            reset_current_deadline(deadline)
            self._free_slots.append(slot)
        if method.returns and value is None:
            return _failed(method, TypeError("the handler returned None"))
        return Reply(method, value)

    def _send_instead(self, protocol: Protocol, seqid: int, reply: Reply, ex: Exception) -> Reply:
        """Send an internal error in the place of a reply that cannot be encoded; returns what was
        sent.

        Raises:
            TTransportException: it could be encoded, but not sent.
        """
        if isinstance(ex, TTransportException) and ex.type != TTransportException.SIZE_LIMIT:
            raise ex
        protocol.start_over()
        if self.leaving:
            protocol.set_header(LEAVING, self.leaving)
        protocol.send(reply.method.name, TMessageType.EXCEPTION, seqid, _internal_error())
        return _failed(reply.method, ex)

    def _translated(self, ex: Exception) -> Exception:
        try:
            failure = translate(ex, self._errors) or ex
            if failure is not ex and party(failure) == "server_fault":
                # The caller is told that it cannot be done just now; only the operator, why.
                _seldom.warning(
                    "rpc_call_failed",
                    about=type(ex).__name__,
                    error=str(getattr(failure, "message", failure)),
                    cause=f"{type(ex).__name__}: {ex}"[:500],
                )
            return failure
        except Exception as bug:  # noqa: BLE001 - in a translation: it is logged, with what it was to translate
            return bug

    def _log_call(self, reply: Reply, took_ms: float) -> None:
        outcome = reply.outcome
        line = {"method": reply.method.name, "outcome": outcome, "took_ms": round(took_ms, 2)}
        if isinstance(reply.failure, Error):
            line["error"] = reply.failure.message
        if outcome == "unclassified":
            _log.error("rpc_call", **line, exc_info=reply.failure)
        elif outcome in _WORTH_A_LINE or took_ms > self._rules.slow_ms:
            _log.info("rpc_call", **line)
        else:
            _log.debug("rpc_call", **line)


@lru_cache(maxsize=1024)
def _parse_budget(given: bytes | None) -> float:
    """Milliseconds; without end if the caller names none, or no number."""
    if given is None or len(given) > 9 or not given.isdigit():
        return math.inf
    return int(given)


def _accept_request_id(given: bytes) -> str:
    # PERF: as ours are, which need no regular expression.
    return (
        given.decode()
        if len(given) == 16 and given.isalnum()
        else accept_request_id(given.decode(errors="replace"))
    )


@lru_cache(maxsize=64)
def _accept_caller(name: bytes) -> str:
    return name.decode() if _CALLER.fullmatch(name) else "unknown"


class Reply:
    """What a call came to: a value, or a failure and whose it was.

    Attributes:
        held_back_s: wait so long before it is sent. An exception of a handler says so by an
            attribute `hold_back_s`: a caller that is refused and asks again at once would take the
            time of those who are served.
    """

    __slots__ = ("failure", "held_back_s", "method", "outcome", "value")

    def __init__(
        self, method: Method, value: Any, failure: BaseException | None = None, outcome: str = "ok"
    ) -> None:
        self.method = method
        self.value = value
        self.failure = failure
        self.outcome = outcome
        self.held_back_s = 0.0

    def as_message(self) -> tuple[int, Any]:
        """The message's type and its struct. A failure the IDL does not declare becomes an internal
        error."""
        if self.failure is None:
            if isinstance(self.value, Encoded):
                if self.value.kind is not self.method.returned_struct:
                    raise TypeError(
                        f"an encoded {self.value.kind.__name__} is not what {self.method.name} "
                        "returns"
                    )
                return TMessageType.REPLY, self.value
            return TMessageType.REPLY, self.method.result_type(
                *((self.value,) if self.method.returns else ())
            )
        result = self.method.result_type()
        field = self.method.field_of(self.failure) if isinstance(self.failure, Error) else None
        if field is None:
            return TMessageType.EXCEPTION, _internal_error()
        setattr(result, field, self.failure)
        return TMessageType.REPLY, result


def _failed(method: Method, failure: BaseException) -> Reply:
    return Reply(method, None, failure, party(failure))


def _internal_error() -> Any:
    return TApplicationException(TApplicationException.INTERNAL_ERROR, "internal error")


def _answer_unknown(protocol: Protocol, name: str, seqid: int) -> None:
    protocol.skip(TType.STRUCT)
    protocol.readMessageEnd()
    _CALLS.labels("unknown", "caller_fault").inc()
    failure = TApplicationException(TApplicationException.UNKNOWN_METHOD, "there is no such method")
    protocol.send(name, TMessageType.EXCEPTION, seqid, failure)
