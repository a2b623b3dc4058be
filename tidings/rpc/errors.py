"""Whose fault a failed call is: four tiers, the same on both sides of the wire, and one table to
HTTP.

The caller's fault (do not send it again), an expected answer (404, 409), the server's fault, and
transport (the outcome is unknown, except whether anything can have reached the server). A handler
raises the IDL's `Error`, or a domain exception that the server was told how to translate; anything
else that comes out of a handler crosses the wire as "internal error" and nothing more. Rejected:
one exception class for each status code; callers choose by tier, and read the code where it
matters.

    raise not_found("there is no such channel")   # in a handler
    party(ex)                                     # "expected", at the client
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from tidings.process.deadline import DeadlineExceededError
from tidings_idl.base.ttypes import Error

# NOTE: generated classes carry no annotations; this is the one place that calls this constructor.
_make_error: Any = Error

ErrorTable = Mapping[type[Exception], Callable[[Any], Error]]

_EXPECTED = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.PRECONDITION_FAILED}
)


# The server's side: what a handler raises.


def error(
    code: int, message: str, details: Mapping[str, str] | None = None, *, retryable: bool = False
) -> Error:
    """The IDL's `Error`; `message` and `details` are shown to people as they are."""
    made: Error = _make_error(int(code), message, dict(details or {}), retryable)
    return made


def invalid(details: Mapping[str, str], message: str = "the request is not valid") -> Error:
    """422. `details` says for each refused field why."""
    return error(HTTPStatus.UNPROCESSABLE_ENTITY, message, details)


def not_found(message: str) -> Error:
    """404: an expected answer, not a failure."""
    return error(HTTPStatus.NOT_FOUND, message)


def unavailable(message: str, *, retryable: bool = True) -> Error:
    """503. Retryable means: not a thing was done, so the same call may be sent elsewhere at
    once."""
    return error(HTTPStatus.SERVICE_UNAVAILABLE, message, retryable=retryable)


def too_late() -> Error:
    """504: the caller's deadline has passed, or is too near for the work to be worth starting."""
    return error(HTTPStatus.GATEWAY_TIMEOUT, "the deadline has passed")


# The client's side: what a call raises, besides `DeadlineExceededError`.


class RpcError(Exception):
    """A call failed. Catch a subclass to choose by whose fault it was."""

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        details: Mapping[str, str] | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = dict(details or {})
        self.retryable = retryable


class CallerFaultError(RpcError):
    """The request is wrong (400, 422 …); sending it again cannot help."""


class ExpectedError(RpcError):
    """An answer that is no failure of anybody's: not found, conflict."""


class ServerFaultError(RpcError):
    """The service answered that it cannot: a 5xx `Error`, or a `TApplicationException`."""


class TransportFaultError(RpcError):
    """Connecting, sending, receiving or decoding failed.

    Attributes:
        sent: False only if no byte of this request can have reached the server.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, retryable=not sent)
        self.sent = sent


def from_reply(reply: Error) -> RpcError | DeadlineExceededError:
    """The exception that a received `Error` becomes."""
    code = reply.code or 0
    if code == HTTPStatus.GATEWAY_TIMEOUT:
        return DeadlineExceededError(reply.message or "the deadline has passed")
    tier: type[RpcError] = ServerFaultError
    if code in _EXPECTED:
        tier = ExpectedError
    elif 400 <= code < 500:
        tier = CallerFaultError
    return tier(
        reply.message or "the service gave no reason",
        code=code,
        details=reply.details,
        retryable=bool(reply.retryable),
    )


def party(ex: BaseException) -> str:
    """Whom a failure is counted against, in metrics and logs; `unclassified` is to stay at zero."""
    if isinstance(ex, Error):
        ex = from_reply(ex)
    for kind, name in _PARTIES:
        if isinstance(ex, kind):
            return name
    return "unclassified"


_PARTIES: tuple[tuple[type[BaseException], str], ...] = (
    (CallerFaultError, "caller_fault"),
    (ExpectedError, "expected"),
    (ServerFaultError, "server_fault"),
    (TransportFaultError, "transport_fault"),
    (DeadlineExceededError, "deadline_exceeded"),
)


def http_status(ex: BaseException) -> HTTPStatus:
    """The HTTP status of a failed call: the one table between the two protocols.

    The caller's and the expected codes pass through. A service that could not is 503 if it said so
    and 502 otherwise, an unreachable one 503, no time left 504, anything else 500.
    """
    if isinstance(ex, CallerFaultError | ExpectedError):
        return _known_status(ex.code, HTTPStatus.BAD_REQUEST)
    if isinstance(ex, ServerFaultError):
        overloaded = ex.code == HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.SERVICE_UNAVAILABLE if overloaded else HTTPStatus.BAD_GATEWAY
    if isinstance(ex, TransportFaultError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(ex, DeadlineExceededError):
        return HTTPStatus.GATEWAY_TIMEOUT
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _known_status(code: int, otherwise: HTTPStatus) -> HTTPStatus:
    try:
        return HTTPStatus(code)
    except ValueError:
        return otherwise


def translate(ex: Exception, table: ErrorTable) -> Error | None:
    """The `Error` that an exception out of a handler becomes; None if the table does not say how.

    A failed call to a service further back is 503 and not retryable: something may have been done.
    """
    if isinstance(ex, Error):
        return ex
    for kind in type(ex).__mro__:
        if kind in table:
            return table[kind](ex)
    if isinstance(ex, DeadlineExceededError):
        return too_late()
    if isinstance(ex, RpcError):
        return unavailable("a service behind this one failed", retryable=False)
    return None
