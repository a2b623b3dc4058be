"""Device and referrer in one byte: every pair has a code of its own, and no byte is an error."""

from __future__ import annotations

import pytest

from tidings.reading.contexts import (
    NO_CONTEXT,
    Context,
    Device,
    Referrer,
    context_of,
    make_context,
)

EVERY = [Context(device, referrer) for device in Device for referrer in Referrer]


def test_every_context_is_found_by_its_code() -> None:
    """What a token carries is what the batch was made for."""
    codes = [context.code for context in EVERY]

    assert [context_of(code) for code in codes] == EVERY
    assert len(set(codes)) == len(EVERY)
    assert all(0 <= code <= 255 for code in codes)


def test_codes_are_those_that_tokens_and_rows_were_written_with() -> None:
    """Trap: a device that is given another number makes every stored context another one."""
    assert Context(Device.DESKTOP, Referrer.NONE).code == 0x11
    assert Context(Device.MOBILE, Referrer.INTERNAL).code == 0x22
    assert Context(Device.TABLET, Referrer.SEARCH).code == 0x33
    assert Context(Device.OTHER, Referrer.SOCIAL).code == 0x44
    assert Context(Device.UNKNOWN, Referrer.OTHER).code == 0x05


def test_a_code_of_a_newer_release_says_nothing() -> None:
    """A new device in a token must not fail the worker that does not know it yet."""
    assert {context_of(code) for code in range(256) if code not in {c.code for c in EVERY}} == {
        NO_CONTEXT
    }


@pytest.mark.parametrize(
    ("device", "referrer", "context"),
    [
        ("mobile", "search", Context(Device.MOBILE, Referrer.SEARCH)),
        (None, None, NO_CONTEXT),
        ("", "nowhere", NO_CONTEXT),
        ("watch", "social", Context(Device.UNKNOWN, Referrer.SOCIAL)),
    ],
)
def test_names_of_the_idl_become_a_context(
    device: str | None, referrer: str | None, context: Context
) -> None:
    """Callers in other languages send names; one that is not known costs the context, not the
    call."""
    assert make_context(device, referrer) == context
