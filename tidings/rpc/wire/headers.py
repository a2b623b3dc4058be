"""The headers that travel with a message: their names, and their form in Thrift's header protocol.

Read here is what nearly all clients send: plain key-values with lengths of one byte. Anything else
is left to Thrift's own reader.

    pack({b"request-id": b"r1"})
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

# The headers of a request, and of a reply.
BUDGET, REQUEST_ID, CALLER = b"deadline-budget-ms", b"request-id", b"caller"
LEAVING = b"leaving"
# Who leaves: the whole server, so call elsewhere; or the one worker behind this connection, so call
# again.
SERVER_LEAVES, WORKER_LEAVES = b"server", b"worker"

_KEY_VALUE = 1
_PADDING = [bytes(count) for count in range(4)]
# How the block of a client of ours begins: one set of key-values, three of them.
OURS_BEGINS = b"\0\0\1\3\x12" + BUDGET


# The deadline's milliseconds, the request id and the caller, as they came: what a call's headers
# say.
Context: TypeAlias = tuple[bytes | None, bytes, bytes]


def context_of(headers: dict[bytes, bytes]) -> Context:
    """The context among any headers; empty where it is missing."""
    return headers.get(BUDGET), headers.get(REQUEST_ID, b""), headers.get(CALLER, b"")


NO_HEADERS = b"\0\0\0\0"


class UnusualError(Exception):
    """Not for the lean path. It says nothing about whether the message is valid."""


def parse(frame: bytes, at: int, end: int) -> dict[bytes, bytes]:
    """The headers between `at` and `end`, which begin with the number of the protocol.

    Raises:
        UnusualError: another protocol than binary, transforms, or something longer than a byte can
            count.
    """
    # Protocol 0 is binary, and it is followed by the number of transforms.
    if end > len(frame) or end - at < 4 or frame[at] or frame[at + 1]:
        raise UnusualError
    headers: dict[bytes, bytes] = {}
    at += 2
    while at < end and frame[at] == _KEY_VALUE:
        count = frame[at + 1]
        at += 2
        if count > 0x7F:
            raise UnusualError
        for _ in range(count):
            key, at = _short_string(frame, at)
            headers[key], at = _short_string(frame, at)
    if at > end:
        raise UnusualError
    return headers


def _short_string(frame: bytes, at: int) -> tuple[bytes, int]:
    length = frame[at]
    end = at + 1 + length
    if length > 0x7F or end > len(frame):  # a varint of more than one byte
        raise UnusualError
    return frame[at + 1 : end], end


def pack(headers: dict[bytes, bytes]) -> bytes:
    """The block that `parse` reads, filled up to whole words."""
    if not headers:
        return NO_HEADERS
    entries = [b"\0\0\1", _varint(len(headers))]
    for key, value in headers.items():
        entries += _sized(key), _varint(len(value)), value
    block = b"".join(entries)
    return block + _PADDING[-len(block) % 4]


def pack_context(budget: bytes | None, request_id: bytes, caller: bytes) -> bytes:
    """What `pack` makes of the three headers of a call."""
    if budget is None:
        raise ValueError("a call of ours names its deadline")
    return _context_form(len(budget), len(request_id), caller) % (budget, request_id)


@lru_cache(maxsize=256)
def _context_form(budget_bytes: int, id_bytes: int, caller: bytes) -> bytes:
    def sized(key: bytes, length: int) -> bytes:
        return (_sized(key) + _varint(length)).replace(b"%", b"%%")

    begin = b"\0\0\1\3" + sized(BUDGET, budget_bytes) + b"%b" + sized(REQUEST_ID, id_bytes) + b"%b"
    end = sized(CALLER, len(caller)) + caller.replace(b"%", b"%%")
    length = len((begin + end) % (bytes(budget_bytes), bytes(id_bytes)))
    return begin + end + _PADDING[-length % 4]


@lru_cache(maxsize=64)
def _sized(key: bytes) -> bytes:
    return _varint(len(key)) + key


@lru_cache(maxsize=256)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
