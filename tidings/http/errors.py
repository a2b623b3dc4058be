"""What is wrong with a request, as the doors themselves find it, before any noun is asked.

Each becomes an answer by the table in `problems`; here it has a name and no status. Rejected: to
keep them beside that table, which knows every noun, and so would all that reads a parameter.

    raise InvalidRequestError({"article_num": "must be from 1 to 100"})  # 422 at the door
"""

from __future__ import annotations

from collections.abc import Mapping

from tidings.readers.keys import Role


class InvalidRequestError(Exception):
    """Fields of the request that cannot be used: name → what would be right."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field} {reason}" for field, reason in errors.items()))
        self.errors = dict(errors)


class MalformedBodyError(Exception):
    """The body is not JSON."""


class BodyTooLargeError(Exception):
    """The body is longer than this door takes in."""


class IdempotencyKeyNeededError(Exception):
    """A request that must not happen twice names no key by which it is known again."""


class NotJsonError(Exception):
    """The body is declared as something else than JSON."""


class EncodedBodyError(Exception):
    """The body is declared as packed."""


class ForeignWriteError(Exception):
    """A page of another site made the reader's browser write."""


class QuotaExceededError(Exception):
    """One request too many; `Retry-After` and `RateLimit` of the answer say when there may be
    another."""


class MalformedRequestError(Exception):
    """It is not HTTP as the standards have it."""


class TargetTooLongError(Exception):
    """The request's first line is longer than this door takes in."""


class HeadTooLargeError(Exception):
    """The headers are more or longer than this door takes in."""


class ExpectationError(Exception):
    """The `Expect` header asks for what this door does not know."""


class RequestTooSlowError(Exception):
    """The request did not come within its time."""


class OverloadedError(Exception):
    """More is asked than can be answered in time."""


class TooManyConnectionsError(Exception):
    """The address holds as many connections as one may."""


class NotReadyError(Exception):
    """The process says itself that it cannot do its work now."""


class NothingToServeError(Exception):
    """Every step of the ladder failed."""


class KeyNeededError(Exception):
    """Only a key opens this door, and the request brought none."""


class ReaderNeededError(Exception):
    """This door gives no ids to newcomers, and the request brought neither an id nor a key."""


class RoleTooSmallError(Exception):
    """The key opens other doors, and not this one."""

    def __init__(self, role: Role, needed: Role) -> None:
        super().__init__(f"this needs a key of the role {needed}, and the key's is {role}")
        self.needed = needed
