"""What is kept of a reader, as bytes: the batches shown to them, and what they did.

A busy reader's state is read with each feed, so that it has to be small and quick to read. Batches
stand in columns (all stamps, all channels, …, all article ids in as few bytes each as the largest
one needs), with a checksum, since they are always written as a whole; acts stand one after the
other in records of one length, since a script in Redis appends to them. Rejected: JSON or msgpack,
three times as large; and one entry a batch in a sorted set, which costs more than the batch.

    batches, older = unpack_shown(pack_shown([Batch(10, 1795435260000, array("q", [7]), b"\\1")]))
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import NamedTuple

from tidings.reading.acts import Action

_FORMAT = 1
_HEAD = struct.Struct("<BBHI")  # format, bytes of an id, batches, ids older than these
_CHECKSUM = struct.Struct("<I")
# Article, act, stamp of the batch in ms, moment in ms, and whether it was undone.
_ACT = struct.Struct("<qBIHIHB")
STAMP = struct.Struct("<IH")
HIDDEN_ITEM = struct.Struct("<Bq")
ACT_BYTES = _ACT.size
# What names an act: the article, the act, the stamp.
ACT_KEY_BYTES = 15
NO_IDS: array[int] = array("q")
_ACTIONS = {action.value: action for action in Action}
_moment_of = attrgetter("at_ms")


class CorruptStateError(Exception):
    """Bytes that are kept of a reader are not what was written."""


class Batch(NamedTuple):
    """Articles shown together.

    Attributes:
        article_ids: int64, in the order first shown.
        sources: a byte for each article, the number of the source that brought it; 0 is unknown.
        variant: of the ranking that was asked; 0 is the ordinary one.
        context: how the reader came, as one byte; 0 is unknown.
    """

    channel_id: int
    stamp_ms: int
    article_ids: array[int]
    sources: bytes
    variant: int = 0
    context: int = 0


class Acted(NamedTuple):
    """One act of a reader: what, on which article, shown in the batch of which stamp, and when."""

    action: Action
    article_id: int
    stamp_ms: int
    at_ms: int


class Shown(NamedTuple):
    """What a reader was shown: the batches that are kept, oldest first, and the ids of what was
    shown before those, the longest ago first."""

    batches: Sequence[Batch]
    older: array[int]


def pack_shown(batches: Sequence[Batch], older: array[int] = NO_IDS) -> bytes:
    """These batches, oldest first, and what was shown before them."""
    ids = array("q", older)
    for batch in batches:
        ids.extend(batch.article_ids)
    wide = ids.tobytes()
    width = _width_of(wide)
    body = b"".join(
        (
            _HEAD.pack(_FORMAT, width, len(batches), len(older)),
            array("q", [batch.stamp_ms for batch in batches]).tobytes(),
            array("i", [batch.channel_id for batch in batches]).tobytes(),
            bytes([len(batch.article_ids) for batch in batches]),
            bytes([batch.variant for batch in batches]),
            bytes([batch.context for batch in batches]),
            _narrow(wide, width),
            *(batch.sources for batch in batches),
        )
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack_shown(raw: bytes) -> Shown:
    """What `pack_shown` packed; no bytes are no batches.

    Raises:
        CorruptStateError: it did not pack this.
    """
    if not raw:
        return Shown((), NO_IDS)
    body = raw[: -_CHECKSUM.size]
    if len(body) < _HEAD.size or _CHECKSUM.pack(zlib.crc32(body)) != raw[-_CHECKSUM.size :]:
        raise CorruptStateError("the batches of a reader do not have their checksum")
    kind, width, number, older = _HEAD.unpack_from(body)
    if kind != _FORMAT:
        raise CorruptStateError(f"the batches of a reader have the format {kind}, not {_FORMAT}")
    at = list(accumulate((_HEAD.size, 8 * number, 4 * number, number, number, number)))
    stamps, channels = array("q", body[at[0] : at[1]]), array("i", body[at[1] : at[2]])
    counts, variants, contexts = (body[start:end] for start, end in pairwise(at[2:]))
    total = sum(counts)
    sources_at = at[-1] + width * (older + total)
    if not 1 <= width <= 8 or len(body) != sources_at + total:
        raise CorruptStateError("the batches of a reader have another length than they say")
    ids, sources = _widen(body[at[-1] : sources_at], width), body[sources_at:]
    batches, start = [], 0
    for number, count in enumerate(counts):
        end = start + count
        batches.append(
            Batch(
                channels[number],
                stamps[number],
                ids[older + start : older + end],
                sources[start:end],
                variants[number],
                contexts[number],
            )
        )
        start = end
    return Shown(batches, ids[:older])


def pack_act(acted: Acted, *, is_undone: bool) -> bytes:
    """A record of `ACT_BYTES`."""
    return _ACT.pack(
        acted.article_id,
        acted.action,
        *split_stamp(acted.stamp_ms),
        *split_stamp(acted.at_ms),
        is_undone,
    )


def unpack_acts(raw: bytes) -> list[Acted]:
    """The acts of these records, without those that were undone, in the order in which they
    happened.

    Raises:
        CorruptStateError: these are no records.
    """
    if len(raw) % ACT_BYTES:
        raise CorruptStateError("the acts of a reader end within one")
    try:
        acts = [
            Acted(_ACTIONS[act], article_id, stamp_high << 16 | stamp_low, at_high << 16 | at_low)
            for article_id, act, stamp_high, stamp_low, at_high, at_low, undone in (
                _ACT.iter_unpack(raw)
            )
            if not undone
        ]
    except KeyError as ex:
        raise CorruptStateError(f"a reader did {ex}, which is no act") from ex
    acts.sort(key=_moment_of)
    return acts


def unpack_standing(raw: bytes) -> dict[tuple[Action, int], bool]:
    """(Act, article) → whether it stands, of all that is kept: False where it was undone.

    Raises:
        CorruptStateError: these are no records.
    """
    if len(raw) % ACT_BYTES:
        raise CorruptStateError("the acts of a reader end within one")
    standing: dict[tuple[Action, int], bool] = {}
    for article_id, act, *_, undone in _ACT.iter_unpack(raw):
        action = _ACTIONS.get(act)
        if action is not None:
            place = (action, article_id)
            standing[place] = standing.get(place, False) or not undone
    return standing


def split_stamp(stamp_ms: int) -> tuple[int, int]:
    """A moment in ms as its upper 32 of 48 bits and the others; 48 are enough until the year
    10889."""
    return stamp_ms >> 16 & 0xFFFFFFFF, stamp_ms & 0xFFFF


def pack_stamps(stamps: Iterable[int]) -> bytes:
    """Moments in ms, six bytes each."""
    return b"".join(STAMP.pack(*split_stamp(stamp_ms)) for stamp_ms in stamps)


def unpack_stamps(raw: bytes) -> frozenset[int]:
    """What `pack_stamps` packed.

    Raises:
        CorruptStateError: it did not pack this.
    """
    if len(raw) % STAMP.size:
        raise CorruptStateError("the stamps of a reader end within one")
    return frozenset(high << 16 | low for high, low in STAMP.iter_unpack(raw))


def latest_of_each(ids: Iterable[int]) -> list[int]:
    """These ids, each once, in the order of their last appearances."""
    return list(dict.fromkeys(reversed(list(ids))))[::-1]


def all_ids(shown: Shown) -> array[int]:
    """Every id that was shown, the longest ago first, as often as it was."""
    ids = array("q", shown.older)
    ids.extend(chain.from_iterable(batch.article_ids for batch in shown.batches))
    return ids


def _width_of(wide: bytes) -> int:
    """The least bytes that hold each of these int64; negative ones need all eight."""
    return next((place + 1 for place in range(7, 0, -1) if wide[place::8].strip(b"\0")), 1)


def _narrow(wide: bytes, width: int) -> bytes:
    narrow = bytearray(len(wide) // 8 * width)
    for place in range(width):
        narrow[place::width] = wide[place::8]
    return bytes(narrow)


def _widen(narrow: bytes, width: int) -> array[int]:
    wide = bytearray(8 * (len(narrow) // width))
    for place in range(width):
        wide[place::8] = narrow[place::width]
    return array("q", bytes(wide))
