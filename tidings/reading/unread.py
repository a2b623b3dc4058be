"""The newest batch of a reader in a channel, for when no new one can be had and it was not read.

The batch itself is the one that the recommender recorded (`history`), and what was read is noted in
the reader's state with the report (`noting`), so nothing is kept besides. Rejected: a second copy
of each batch with its tokens. It cost every feed a write, and fresh tokens of the same places name
the same events. And a stamp a channel of what was read, a key of 100 bytes for each.

    unread = UnreadBatches(redis)
    unread.find(reader_id=7, channel_id=10, now_ms=now_ms())
"""

from __future__ import annotations

from dataclasses import dataclass

from redis import Redis

from tidings.reading.before import unpack_members
from tidings.reading.damaged import readable, shown_of
from tidings.reading.packed import Batch, unpack_stamps
from tidings.store.keys import DAY_S, HISTORY, READER

# What is older is no news any more.
OLDEST_MS = DAY_S * 1000


@dataclass(frozen=True, slots=True)
class UnreadBatch:
    """A batch that may be shown once more.

    Attributes:
        before_ms: the stamp of the batch before it, 0 if there is none.
    """

    batch: Batch
    before_ms: int


class UnreadBatches:
    """Reads the histories.

    Every method raises RedisError when Redis cannot be used.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def find(self, reader_id: int, channel_id: int, now_ms: int) -> UnreadBatch | None:
        """The reader's newest batch in the channel, unless it was read or is older than a day."""
        read_ms, batches = self._read(reader_id, channel_id)
        if not batches or batches[0].stamp_ms <= max(read_ms, now_ms - OLDEST_MS):
            return None
        return UnreadBatch(batches[0], batches[1].stamp_ms if len(batches) > 1 else 0)

    def newest_stamp(self, reader_id: int, channel_id: int) -> int:
        """The stamp of the reader's newest batch in the channel, read or not; 0 for none."""
        _, batches = self._read(reader_id, channel_id)
        return batches[0].stamp_ms if batches else 0

    def is_stamp(self, reader_id: int, channel_id: int, stamp_ms: int) -> bool:
        """Whether one of the reader's batches in the channel, as far as they are kept, has this
        stamp."""
        _, batches = self._read(reader_id, channel_id)
        return any(batch.stamp_ms == stamp_ms for batch in batches)

    def _read(self, reader_id: int, channel_id: int) -> tuple[int, list[Batch]]:
        """The stamp of the newest batch that was read, and the channel's batches, newest first."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(READER.of(reader_id), ["shown", "exposed"])
            pipe.zrange(HISTORY.of(reader_id, channel_id), 0, 1, desc=True)
            (ours, exposed), before = pipe.execute()
        batches = {batch.stamp_ms: batch for batch in unpack_members(channel_id, before)}
        for batch in shown_of(ours, reader_id).batches:
            if batch.channel_id == channel_id:
                batches[batch.stamp_ms] = batch
        seen = readable(
            unpack_stamps, exposed or b"", frozenset[int](), "exposed", reader_id=reader_id
        )
        read_ms = max(seen & batches.keys(), default=0)
        return read_ms, [batches[stamp_ms] for stamp_ms in sorted(batches, reverse=True)]
