"""Whose fault a failure is, and what it becomes at the door."""

from __future__ import annotations

import pytest

from tidings.process.deadline import DeadlineExceededError
from tidings.rpc import errors
from tidings.rpc.errors import (
    CallerFaultError,
    ExpectedError,
    RpcError,
    ServerFaultError,
    TransportFaultError,
)
from tidings_idl.base.ttypes import Error


@pytest.mark.parametrize(
    ("made", "code", "retryable"),
    [
        (errors.invalid({"user_id": "above 0"}), 422, False),
        (errors.not_found("nobody"), 404, False),
        (errors.unavailable("full"), 503, True),
        (errors.too_late(), 504, False),
    ],
)
def test_a_handlers_errors_carry_the_status_that_fits(
    made: Error, code: int, retryable: bool
) -> None:
    """What the contract promises for `Error.code` and `Error.retryable`."""
    assert (made.code, made.retryable) == (code, retryable)


@pytest.mark.parametrize(
    ("code", "tier"),
    [
        (400, CallerFaultError),
        (422, CallerFaultError),
        (429, CallerFaultError),
        (404, ExpectedError),
        (409, ExpectedError),
        (410, ExpectedError),
        (500, ServerFaultError),
        (503, ServerFaultError),
        (0, ServerFaultError),
        (200, ServerFaultError),
        (None, ServerFaultError),
    ],
)
def test_the_code_decides_the_tier(code: int | None, tier: type[RpcError]) -> None:
    """A code that is no failure at all is the server's mistake, not the caller's."""
    assert type(errors.from_reply(Error(code=code))) is tier


def test_a_reply_without_anything_in_it_is_still_a_failure_with_a_message() -> None:
    """Trap: no field is required on the wire, though the IDL may say so."""
    failure = errors.from_reply(Error())

    assert isinstance(failure, ServerFaultError)
    assert failure.message
    assert failure.details == {}
    assert not failure.retryable


def test_too_late_becomes_the_deadline_again() -> None:
    """Whether the server or the client noticed makes no difference to the caller."""
    assert isinstance(errors.from_reply(errors.too_late()), DeadlineExceededError)


@pytest.mark.parametrize(
    ("failure", "status", "party"),
    [
        (CallerFaultError("x", code=422), 422, "caller_fault"),
        (CallerFaultError("x", code=499), 400, "caller_fault"),
        (ExpectedError("x", code=409), 409, "expected"),
        (ServerFaultError("x", code=503), 503, "server_fault"),
        (ServerFaultError("x", code=500), 502, "server_fault"),
        (TransportFaultError("x", sent=True), 503, "transport_fault"),
        (DeadlineExceededError("x"), 504, "deadline_exceeded"),
        (ValueError("x"), 500, "unclassified"),
        (SystemExit(1), 500, "unclassified"),
    ],
)
def test_one_table_to_http(failure: BaseException, status: int, party: str) -> None:
    """And one to the name that metrics count it under."""
    assert errors.http_status(failure) == status
    assert errors.party(failure) == party


def test_only_what_was_not_sent_may_be_sent_again() -> None:
    """A transport fault after the first byte may have been done."""
    assert TransportFaultError("x", sent=False).retryable
    assert not TransportFaultError("x", sent=True).retryable


class MissingError(Exception):
    pass


class StillMissingError(MissingError):
    pass


def test_a_domain_exception_is_translated_by_its_nearest_entry() -> None:
    """A subclass without an entry of its own goes by its parent's."""
    table = {
        MissingError: lambda ex: errors.not_found(str(ex)),
        Exception: lambda _: errors.unavailable("other"),
    }

    assert errors.translate(StillMissingError("it"), table) == errors.not_found("it")
    assert errors.translate(OSError(), table) == errors.unavailable("other")


def test_without_an_entry_nothing_is_made_up() -> None:
    """The layer's own exceptions excepted."""
    mine = errors.not_found("mine")

    assert errors.translate(MissingError(), {}) is None
    assert errors.translate(mine, {}) is mine
    assert errors.translate(DeadlineExceededError(), {}) == errors.too_late()


def test_a_failure_further_back_is_not_retryable_and_says_nothing() -> None:
    """Trap: a downstream fault passed on as it is; something may have been done there, and its
    words are internal."""
    passed_on = errors.translate(TransportFaultError("10.0.0.7: secret", sent=False), {})

    assert passed_on is not None
    assert (passed_on.code, passed_on.retryable) == (503, False)
    assert "secret" not in passed_on.message
