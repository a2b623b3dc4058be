"""A reader as a feed is chosen for: what they were shown, what they did, what they hid.

All of it is one hash in Redis, read in one round trip; `packed` says what its bytes are, `history`
and `noting` write them. A field that cannot be read is counted and taken for empty: a reader whose
state was damaged starts anew rather than getting errors for ever. Rejected: a key for each part,
which costs 50 bytes a key and a command each.

    state = history.read(reader_id)
    state.newest_ms(channel_id=10), state.seen.size, state.hidden.authors
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidings.reading.damaged import readable, shown_of
from tidings.reading.packed import (
    HIDDEN_ITEM,
    NO_IDS,
    Acted,
    Batch,
    CorruptStateError,
    Shown,
    all_ids,
    latest_of_each,
    unpack_acts,
    unpack_stamps,
)

__all__ = ["Acted", "Batch", "Hidden", "ReaderState", "read_fields"]

FIELDS = ("shown", "acts", "exposed", "hidden")


class Hidden(NamedTuple):
    """What a reader does not want to see: articles, and all of an author or a channel."""

    articles: frozenset[int] = frozenset()
    authors: frozenset[int] = frozenset()
    channels: frozenset[int] = frozenset()


NOTHING_HIDDEN = Hidden()


@dataclass(frozen=True)
class ReaderState:
    """A reader, read in one round trip.

    Attributes:
        version: stamp of the newest batch in any channel; what `record` expects to find again.
        batches: those that are kept, of all channels, oldest first.
        acts: the latest ones, oldest first, each once, without those that were undone.
        exposed: stamps of the batches that were reported as seen.
        hidden: what is not to be shown.
        older: ids that were shown before `batches`, the longest ago first.
    """

    version: int = 0
    batches: Sequence[Batch] = ()
    acts: Sequence[Acted] = ()
    exposed: frozenset[int] = frozenset()
    hidden: Hidden = NOTHING_HIDDEN
    older: array[int] = field(default_factory=lambda: NO_IDS)

    @property
    def shown(self) -> Shown:
        return Shown(self.batches, self.older)

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """What is not to be shown again, sorted, each once: all that was shown, and what was acted
        upon."""
        ids = all_ids(self.shown)
        ids.extend(acted.article_id for acted in self.acts)
        # PERF: `np.unique` takes ten times as long.
        ordered = np.array(ids, dtype=np.int64)
        ordered.sort()
        is_first = np.ones(len(ordered), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        return ordered[is_first]

    @property
    def shown_before(self) -> list[int]:
        """What was shown, each once, the longest ago first; before it, what was acted upon and is
        no longer known to have been shown."""
        return latest_of_each([*(acted.article_id for acted in self.acts), *all_ids(self.shown)])

    def with_shown(self, shown: Shown) -> ReaderState:
        """The same reader, who was shown this."""
        return replace(self, batches=shown.batches, older=shown.older)

    @property
    def newest_stamp_ms(self) -> int:
        """Of the newest batch in any channel that is kept; 0 if there is none."""
        return self.batches[-1].stamp_ms if self.batches else 0

    def newest_ms(self, channel_id: int) -> int:
        """The stamp of the newest batch in a channel, 0 if there is none."""
        for batch in reversed(self.batches):
            if batch.channel_id == channel_id:
                return batch.stamp_ms
        return 0

    def page_at(self, channel_id: int, at_ms: int) -> tuple[Batch | None, int]:
        """The newest batch of a channel recorded at or before a moment, and the stamp of the one
        before it, 0 if there is none."""
        of_channel = (
            batch
            for batch in reversed(self.batches)
            if batch.channel_id == channel_id and batch.stamp_ms <= at_ms
        )
        page = next(of_channel, None)
        before = next(of_channel, None)
        return page, before.stamp_ms if before else 0


def read_fields(version: int, raw: Sequence[bytes | None], reader_id: int) -> ReaderState:
    """The state out of the values of `FIELDS`."""
    shown, acts, exposed, hidden = (value or b"" for value in raw)
    batches, older = shown_of(shown, reader_id)
    return ReaderState(
        version,
        batches,
        readable(unpack_acts, acts, (), "acts", reader_id=reader_id),
        readable(unpack_stamps, exposed, frozenset[int](), "exposed", reader_id=reader_id),
        readable(_unpack_hidden, hidden, NOTHING_HIDDEN, "hidden", reader_id=reader_id),
        older,
    )


def _unpack_hidden(raw: bytes) -> Hidden:
    if len(raw) % HIDDEN_ITEM.size:
        raise CorruptStateError("what a reader hid ends within one")
    ids: tuple[set[int], set[int], set[int]] = set(), set(), set()
    for kind, id_ in HIDDEN_ITEM.iter_unpack(raw):
        if kind >= len(ids):
            raise CorruptStateError(f"a reader hid a thing of kind {kind}, which there is not")
        ids[kind].add(id_)
    return Hidden(*map(frozenset, ids))
