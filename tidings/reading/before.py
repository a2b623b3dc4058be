"""Takes over what the release before kept of a reader.

Its workers run beside ours during an upgrade, and its readers come back for weeks. They share a
reader's `version`; where that is another than the newest batch in the reader's hash, a worker of
that release was the last to record, and what it wrote is read once. Rejected: a migration of Redis,
which would have to stop all workers.

    take_over(redis, reader_id, state.shown, channels=[0, 1, 2])
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

from redis import Redis

from tidings.reading.packed import Batch, Shown, all_ids
from tidings.store.keys import HISTORY, SEEN

ID_BYTES = 8
# As many of a channel's newest batches are taken over; `History` keeps fewer of all channels.
BATCHES_BEFORE = HISTORY.most


def take_over(redis: Redis, reader_id: int, ours: Shown, channels: Iterable[int]) -> Shown:
    """What our workers and those of the release before showed to a reader.

    Args:
        channels: where those may have recorded something.
    """
    of_channels = list(channels)
    with redis.pipeline(transaction=False) as pipe:
        pipe.get(SEEN.of(reader_id))
        for channel_id in of_channels:
            pipe.zrange(HISTORY.of(reader_id, channel_id), 0, -1)
        seen, *members = pipe.execute()
    newest_ms = ours.batches[-1].stamp_ms if ours.batches else 0
    theirs = [
        batch
        for channel_id, of_channel in zip(of_channels, members, strict=True)
        for batch in unpack_members(channel_id, of_channel)
        if batch.stamp_ms > newest_ms
    ]
    theirs.sort(key=lambda batch: batch.stamp_ms)
    known = {*all_ids(ours)}.union(*(batch.article_ids for batch in theirs))
    older = array("q", [id_ for id_ in _unpack_ids(seen or b"") if id_ not in known])
    older.extend(ours.older)
    return Shown([*ours.batches, *theirs], older)


def unpack_members(channel_id: int, members: Iterable[Any]) -> list[Batch]:
    """The batches that these members of `HISTORY` are, without those that cannot be read."""
    found = (unpack_member(channel_id, member) for member in members)
    return [batch for batch in found if batch is not None]


def unpack_member(channel_id: int, member: Any) -> Batch | None:
    """The batch that a member of `HISTORY` is; None if it cannot be read."""
    stamp, _, raw = member.partition(b":")
    if not stamp.isdigit() or not raw or len(raw) % ID_BYTES:
        return None
    ids = _unpack_ids(raw)
    return Batch(channel_id, int(stamp), ids, bytes(len(ids)))


def _unpack_ids(raw: bytes) -> array[int]:
    ids = array("q")
    ids.frombytes(raw[: len(raw) - len(raw) % ID_BYTES])
    return ids
