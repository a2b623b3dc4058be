"""Each reader's newest batch, kept until it was read, for when no new one can be had.

Only what cannot be derived is kept: the batch's stamp, its exposure token and one click token an
article, from which the article, its place and the other tokens follow. A batch that was read leaves
its stamp behind, so that the pages before it can still be found. Rejected: keeping the answer's
JSON, five times as large, with counts and titles that are out of date when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from redis import Redis

from tidings.reading.tracking import Shown
from tidings.store.redis import PREFIX

TTL_S = 24 * 3600

# KEYS: the kept batch. ARGV: "stamp:" of a batch that was read. What is newer than that stays as it
# is.
_FORGET = """
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, #ARGV[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
end
"""


class KeptBatch(msgspec.Struct, array_like=True, frozen=True):
    """A batch as the recommender gave it, in its order."""

    exposure: str
    pre_timestamp: int
    clicks: list[str]


class KeptBatches:
    """Kept in Redis under the reader's hash tag.

    Every method raises RedisError when Redis cannot be used.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._forget = redis.register_script(_FORGET)
        self._decoder = msgspec.msgpack.Decoder(KeptBatch)

    def keep(self, reader_id: int, channel_id: int, stamp_ms: int, batch: KeptBatch) -> None:
        packed = b"%d:%b" % (stamp_ms, msgspec.msgpack.encode(batch))
        self._redis.set(_key(reader_id, channel_id), packed, ex=TTL_S)

    def find(self, reader_id: int, channel_id: int) -> KeptBatch | None:
        """The reader's newest batch, unless it was read.

        Raises:
            msgspec.DecodeError: what is kept is not a batch.
        """
        _, packed = self._read(reader_id, channel_id)
        return self._decoder.decode(packed) if packed else None

    def newest_stamp(self, reader_id: int, channel_id: int) -> int:
        """The stamp of the reader's newest batch, read or not; 0 if none is known."""
        stamp, _ = self._read(reader_id, channel_id)
        return int(stamp or 0)

    def _read(self, reader_id: int, channel_id: int) -> tuple[bytes, bytes]:
        kept: Any = self._redis.get(_key(reader_id, channel_id))
        stamp, _, packed = (kept or b"").partition(b":")
        return stamp, packed

    def mark_read(self, exposures: Iterable[Shown]) -> None:
        """These batches were seen; showing them once more would be no news."""
        for shown in exposures:
            self._forget(
                keys=[_key(shown.reader_id, shown.channel_id)], args=[f"{shown.stamp_ms}:"]
            )


def _key(reader_id: int, channel_id: int) -> str:
    return f"{PREFIX}{{{reader_id}}}:feed:{channel_id}"
