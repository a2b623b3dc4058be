"""The newest batch of a reader in a channel, for when no new one can be had and it was not read.

The batch itself is the one that the recommender recorded (`history`); all that is kept besides is
one stamp a channel, of the newest batch that the reader saw. Rejected: a second copy of each batch
with its tokens. It cost every feed a write, and fresh tokens of the same places name the same
events.

    unread = UnreadBatches(redis)
    unread.find(reader_id=7, channel_id=10, now_ms=now_ms())
    unread.mark_read([shown])
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from redis import Redis

from tidings.reading.before import unpack_members
from tidings.reading.damaged import shown_of
from tidings.reading.packed import Batch
from tidings.reading.tracking import Shown
from tidings.store.keys import HISTORY, READ, READER

# What is older is no news any more, so its mark may be forgotten as well.
OLDEST_MS = READ.ttl_s * 1000

# KEYS: the stamp of the newest batch that was read. ARGV: the stamp of one that was, TTL in s.
# Reports come in any order; an older one never shows a newer batch again.
_MARK_READ = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or '0') then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
"""


@dataclass(frozen=True, slots=True)
class UnreadBatch:
    """A batch that may be shown once more.

    Attributes:
        before_ms: the stamp of the batch before it, 0 if there is none.
    """

    batch: Batch
    before_ms: int


class UnreadBatches:
    """Reads the histories and keeps what was read.

    Every method raises RedisError when Redis cannot be used.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._mark_read = redis.register_script(_MARK_READ)

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
            pipe.get(READ.of(reader_id, channel_id))
            pipe.hget(READER.of(reader_id), "shown")
            pipe.zrange(HISTORY.of(reader_id, channel_id), 0, 1, desc=True)
            read_ms, ours, before = pipe.execute()
        batches = {batch.stamp_ms: batch for batch in unpack_members(channel_id, before)}
        for batch in shown_of(ours, reader_id).batches:
            if batch.channel_id == channel_id:
                batches[batch.stamp_ms] = batch
        return int(read_ms or 0), [batches[stamp_ms] for stamp_ms in sorted(batches, reverse=True)]

    def mark_read(self, exposures: Iterable[Shown]) -> None:
        """These batches were seen, and what came before them is old: neither is shown again."""
        newest: dict[str, int] = {}
        for shown in exposures:
            key = READ.of(shown.reader_id, shown.channel_id)
            newest[key] = max(shown.stamp_ms, newest.get(key, 0))
        for key, stamp_ms in newest.items():
            self._mark_read(keys=[key], args=[stamp_ms, READ.ttl_s])
