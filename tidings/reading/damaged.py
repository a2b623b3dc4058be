"""What is done about a reader's state that cannot be read: it is counted, told, and taken for
empty.

A reader whose state was damaged starts anew; an error would meet them at each request, for ever.
Rejected: deleting it on sight, which a program of a newer release would not thank us for; the next
batch overwrites it anyway.

    readable(unpack_shown, raw, Shown((), NO_IDS), "shown", reader_id=7)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from prometheus_client import Counter

from tidings.reading.packed import NO_IDS, CorruptStateError, Shown, unpack_shown

log = structlog.get_logger(__name__)
CORRUPT = Counter(
    "tidings_reader_state_corrupt_total",
    "Parts of a reader's state that could not be read and were taken for empty",
    ["part"],
)

Part = TypeVar("Part")


def shown_of(raw: bytes | None, reader_id: int) -> Shown:
    """What was shown, or nothing where that cannot be read."""
    nothing = Shown((), NO_IDS)
    return readable(unpack_shown, raw or b"", nothing, "shown", reader_id=reader_id)


def readable(
    unpack: Callable[[bytes], Part], raw: bytes, empty: Part, part: str, *, reader_id: int
) -> Part:
    """What these bytes are, or `empty`."""
    try:
        return unpack(raw)
    except CorruptStateError as ex:
        CORRUPT.labels(part).inc()
        log.warning("reader_state_corrupt", reader_id=reader_id, part=part, error=str(ex))
        return empty
