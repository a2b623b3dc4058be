"""What a reader was shown: the batches of each channel, in order, and the articles not to be shown
again.

All of it lives in Redis, under three kinds of keys that share a hash tag, so that one script can
change them together in a Cluster too. A reader's `version` is the stamp of the newest batch in any
channel. A batch is recorded only if the version is still the one that was read before choosing: of
two calls at once one records and the other chooses again, so their batches cannot overlap.
Rejected: a lock per reader, which a crash leaves held; and a script that does the choosing, which
would move the recommender into Redis.

    state = history.read(reader_id, channel_id, at_ms=now_ms())
    history.record(reader_id, channel_id, [12, 7], version=state.version, now_ms=now_ms())
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from tidings.store.keys import HISTORY, SEEN, VERSION

ID_BYTES = SEEN.most

# KEYS: version, seen, history of the channel.
# ARGV: version expected, now in ms, packed ids, batches kept, seen bytes kept, TTL in s.
# Returns the new batch's stamp, or nothing if the reader's version has moved on.
_RECORD = """
local version = tonumber(redis.call('GET', KEYS[1]) or '0')
if version ~= tonumber(ARGV[1]) then return false end
local stamp = string.format('%.0f', math.max(tonumber(ARGV[2]), version + 1))
redis.call('SET', KEYS[1], stamp, 'EX', ARGV[6])
if redis.call('APPEND', KEYS[2], ARGV[3]) > tonumber(ARGV[5]) then
    redis.call('SET', KEYS[2], redis.call('GETRANGE', KEYS[2], -tonumber(ARGV[5]), -1))
end
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('ZADD', KEYS[3], stamp, stamp .. ':' .. ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[4]) - 1)
redis.call('EXPIRE', KEYS[3], ARGV[6])
return stamp
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Articles shown together, in the order first shown."""

    stamp_ms: int
    article_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class ReaderState:
    """A reader as one channel sees them, read in one round trip.

    Attributes:
        version: stamp of the newest batch in any channel; what `record` expects to find again.
        newest_ms: stamp of the newest batch in this channel, 0 if there is none.
        seen: articles shown in any channel, the longest ago first, each once.
        page: the newest batch recorded at or before the moment asked for.
        page_before_ms: stamp of the batch before `page`, 0 if there is none.
    """

    version: int
    newest_ms: int
    seen: Sequence[int]
    page: Batch | None
    page_before_ms: int


class History:
    """Reads and records batches.

    Args:
        redis: where all of it is kept.
        batches_kept: newest batches of one reader and channel; older ones can no longer be paged
            to.
        seen_kept: newest exposures of one reader that are not shown again.
        ttl_s: a reader who was not there for so long is forgotten.
    """

    def __init__(self, redis: Redis, *, batches_kept: int, seen_kept: int, ttl_s: int) -> None:
        self._redis = redis
        self._record = redis.register_script(_RECORD)
        self._limits = (batches_kept, seen_kept * ID_BYTES, ttl_s)

    def read(self, reader_id: int, channel_id: int, at_ms: int) -> ReaderState:
        """A reader's state in a channel, with the page that was newest at `at_ms`.

        Raises:
            RedisError: it could not be read.
        """
        version_key, seen_key, history_key = _keys(reader_id, channel_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(version_key)
            pipe.get(seen_key)
            pipe.zrange(history_key, -1, -1)
            pipe.zrevrangebyscore(history_key, at_ms, "-inf", start=0, num=2)
            version, seen, newest, pages = pipe.execute()
        batches = [unpack_batch(raw) for raw in pages]
        return ReaderState(
            version=int(version or 0),
            newest_ms=unpack_batch(newest[0]).stamp_ms if newest else 0,
            seen=_latest_of_each(_unpack_ids(seen or b"")),
            page=batches[0] if batches else None,
            page_before_ms=batches[1].stamp_ms if len(batches) > 1 else 0,
        )

    def record(
        self,
        reader_id: int,
        channel_id: int,
        article_ids: Sequence[int],
        *,
        version: int,
        now_ms: int,
    ) -> int | None:
        """Record a batch as shown.

        Args:
            version: `ReaderState.version` from before the articles were chosen.

        Returns:
            Its stamp in ms, unique for this reader and increasing; None if another batch was
            recorded since `version`, and nothing was changed.
        """
        stamp = self._record(
            keys=_keys(reader_id, channel_id),
            args=[version, now_ms, array("q", article_ids).tobytes(), *self._limits],
        )
        return None if stamp is None else int(stamp)


def find_batches(redis: Redis, places: Sequence[tuple[int, int, int]]) -> list[Batch | None]:
    """The batches of these (reader_id, channel_id, stamp_ms), in this order; None where one is no
    longer kept."""
    with redis.pipeline(transaction=False) as pipe:
        for reader_id, channel_id, stamp_ms in places:
            pipe.zrangebyscore(HISTORY.of(reader_id, channel_id), stamp_ms, stamp_ms)
        return [unpack_batch(found[0]) if found else None for found in pipe.execute()]


def _keys(reader_id: int, channel_id: int) -> tuple[str, str, str]:
    return VERSION.of(reader_id), SEEN.of(reader_id), HISTORY.of(reader_id, channel_id)


def _unpack_ids(raw: bytes) -> array[int]:
    ids = array("q")
    ids.frombytes(raw)
    return ids


def unpack_batch(raw: Any) -> Batch:
    """A batch out of a member of `HISTORY`."""
    stamp, _, ids = raw.partition(b":")
    return Batch(int(stamp), _unpack_ids(ids))


def _latest_of_each(ids: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(reversed(ids)))[::-1]
