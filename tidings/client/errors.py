"""What a call of `TidingsClient` raises, by whose fault it was.

The service's own exceptions are turned into these, so that a program which catches them need not
know Thrift. Rejected: one exception with a code, since a program would have to look the codes up to
tell its own mistake from a service that is away.

    except TransportFaultError as ex:
        if not ex.sent: ...
"""

from __future__ import annotations

from collections.abc import Mapping

from tidings.process import deadline


class TidingsError(Exception):
    """A call failed, or a client could not be made.

    Attributes:
        message: what happened, in one line.
        code: the service's, after HTTP; 0 if the service said nothing.
        details: for each field that was refused, why.
        retryable: nothing was done, so the same call may be sent again.
    """

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

    def __str__(self) -> str:
        """The message, and what was wrong with each field, as a log or a terminal needs it."""
        wrong = "; ".join(f"{field}: {why}" for field, why in self.details.items())
        return f"{self.message}: {wrong}" if wrong else self.message


class MisconfiguredError(TidingsError):
    """An endpoint is malformed or would be spoken to in plain text, a certificate cannot be used,
    or Thrift's C codec is missing."""


class CallerFaultError(TidingsError):
    """The request is wrong; sending it again cannot help."""


class ExpectedError(TidingsError):
    """An answer that is no failure: not found, conflict."""


class NotFoundError(ExpectedError):
    """What was asked for is not there."""


class ServerFaultError(TidingsError):
    """The service answered that it cannot."""


class TransportFaultError(TidingsError):
    """Connecting, sending, receiving or decoding failed.

    Attributes:
        sent: False only if no byte of this request can have reached the server.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, retryable=not sent)
        self.sent = sent


class DeadlineExceededError(TidingsError, deadline.DeadlineExceededError):
    """There was no answer in time; what became of the call is unknown."""
