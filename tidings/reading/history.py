"""Reads a reader's state, and records the batches that are shown to them.

A reader's `version` is the stamp of the newest batch in any channel. A batch is recorded only if
the version is still the one that was read before choosing: of two calls at once one records and the
other chooses again, so their batches cannot overlap. Rejected: a lock per reader in Redis, which a
crash leaves held; and a script that does the choosing, which would move the recommender into Redis.

    state = history.read(reader_id)
    history.record(reader_id, Batch(10, now_ms(), array("q", [12, 7]), b"\\1\\1"), state)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from redis import Redis

from tidings.reading.before import BATCHES_BEFORE, take_over, unpack_member
from tidings.reading.damaged import shown_of
from tidings.reading.packed import Batch, Shown, pack_shown
from tidings.reading.reader_state import FIELDS, ReaderState, read_fields
from tidings.store.keys import DAY_S, FIRST_VISIT_S, HISTORY, READER, SEEN, VERSION

# KEYS: version, the reader's hash, and seen and history of workers of the release before.
# ARGV: version expected, the new one, TTL in s, all that was shown, the new batch's packed ids,
# the time in s for which workers of the release before may still ask, batches and bytes they keep,
# the TTL in s of a first visit, empty for a reader who comes back.
# Returns whether it was recorded. A field `first` says that the reader has not come back yet.
_RECORD = """
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then return 0 end
local ttl_s = ARGV[3]
local is_new = redis.call('EXISTS', KEYS[2]) == 0
if ARGV[9] == '' then
    redis.call('HDEL', KEYS[2], 'first')
elseif is_new or redis.call('HEXISTS', KEYS[2], 'first') == 1 then
    redis.call('HSET', KEYS[2], 'first', '')
    ttl_s = ARGV[9]
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ttl_s)
redis.call('HSET', KEYS[2], 'shown', ARGV[4])
redis.call('EXPIRE', KEYS[2], ttl_s)
if redis.call('EXISTS', KEYS[3]) == 1 then
    if redis.call('APPEND', KEYS[3], ARGV[5]) > tonumber(ARGV[8]) then
        redis.call('SET', KEYS[3], redis.call('GETRANGE', KEYS[3], -tonumber(ARGV[8]), -1))
        redis.call('EXPIRE', KEYS[3], ARGV[6])
    end
    redis.call('ZADD', KEYS[4], ARGV[2], ARGV[2] .. ':' .. ARGV[5])
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -tonumber(ARGV[7]) - 1)
    for place = 3, 4 do
        if redis.call('TTL', KEYS[place]) > tonumber(ARGV[6])
            or redis.call('TTL', KEYS[place]) < 0
        then
            redis.call('EXPIRE', KEYS[place], ARGV[6])
        end
    end
end
return 1
"""


def _as_it_is(_reader_id: int, state: ReaderState) -> ReaderState:
    return state


class History:
    """Reads readers' states and records batches.

    Args:
        redis: where all of it is kept.
        batches_kept: newest batches of one reader; older ones are no longer in Redis.
        seen_kept: newest exposures of one reader that are not shown again.
        ttl_s: a reader who was not there for so long is forgotten.
        channels: the channels in which a worker of the release before may have shown something.
        restore: completes the state of a reader who has none in Redis.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        batches_kept: int,
        seen_kept: int,
        ttl_s: int,
        channels: Callable[[], Iterable[int]],
        restore: Callable[[int, ReaderState], ReaderState] = _as_it_is,
    ) -> None:
        self._redis = redis
        self._record = redis.register_script(_RECORD)
        self._batches_kept = batches_kept
        self._seen_kept = seen_kept
        self._ttl_s = ttl_s
        self._channels = channels
        self._restore = restore

    def read(self, reader_id: int) -> ReaderState:
        """A reader's state, in one round trip.

        Raises:
            RedisError: it could not be read.
        """
        # A batch that is recorded between the two is in the state and not in its version, so that
        # `record` finds the version another; a transaction would cost two more commands.
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(VERSION.of(reader_id))
            pipe.hmget(READER.of(reader_id), FIELDS)
            version, raw = pipe.execute()
        state = read_fields(int(version or 0), raw, reader_id)
        if raw[0] is None:
            state = self._restore(reader_id, state)
        if state.version <= state.newest_stamp_ms:
            return state
        # Another batch than ours was the last: a worker of the release before recorded it.
        shown = take_over(self._redis, reader_id, state.shown, self._channels())
        return state.with_shown(shown)

    def record(
        self, reader_id: int, batch: Batch, state: ReaderState, *, first_visit: bool = False
    ) -> Batch | None:
        """Record a batch as shown.

        Args:
            batch: its stamp is the moment of now, in ms.
            state: from before the articles were chosen.
            first_visit: the reader's id was made up for this request; all of it is forgotten within
                minutes, unless the id comes back.

        Returns:
            The batch under its stamp, which is unique for this reader and increasing; None if
            another was recorded since `state` was read, and nothing was changed.
        """
        after_ms = max(state.version, state.newest_stamp_ms)
        recorded = batch._replace(stamp_ms=max(batch.stamp_ms, after_ms + 1))
        batches, older = self._keep([*state.batches, recorded], state.older)
        keys = (
            VERSION.of(reader_id),
            READER.of(reader_id),
            SEEN.of(reader_id),
            HISTORY.of(reader_id, batch.channel_id),
        )
        was_recorded = self._record(
            keys=keys,
            args=[
                state.version,
                recorded.stamp_ms,
                self._ttl_s,
                pack_shown(batches, older),
                batch.article_ids.tobytes(),
                DAY_S,
                BATCHES_BEFORE,
                SEEN.most,
                FIRST_VISIT_S if first_visit else "",
            ],
        )
        return recorded if was_recorded else None

    def _keep(self, batches: Sequence[Batch], older: array[int]) -> Shown:
        """The newest batches, as many as are kept, and the ids before them; the newest batch is
        kept however large it is."""
        number, ids = 0, 0
        for batch in reversed(batches):
            ids += len(batch.article_ids)
            if number and (number == self._batches_kept or ids > self._seen_kept):
                ids -= len(batch.article_ids)
                break
            number += 1
        older, first = older[:], len(batches) - number
        for batch in batches[:first]:
            older.extend(batch.article_ids)
        return Shown(batches[first:], older[max(0, len(older) + ids - self._seen_kept) :])


def find_batches(redis: Redis, places: Sequence[tuple[int, int, int]]) -> list[Batch | None]:
    """The batches of these (reader_id, channel_id, stamp_ms), in this order; None where one is no
    longer kept."""
    readers = list({reader_id for reader_id, _, _ in places})
    with redis.pipeline(transaction=False) as pipe:
        for reader_id in readers:
            pipe.hget(READER.of(reader_id), "shown")
        for reader_id, channel_id, stamp_ms in places:
            pipe.zrangebyscore(HISTORY.of(reader_id, channel_id), stamp_ms, stamp_ms)
        found = pipe.execute()
    kept = {
        (reader_id, batch.channel_id, batch.stamp_ms): batch
        for reader_id, raw in zip(readers, found, strict=False)
        for batch in shown_of(raw, reader_id).batches
    }
    before = found[len(readers) :]
    return [
        kept.get(place) or (unpack_member(place[1], members[0]) if members else None)
        for place, members in zip(places, before, strict=True)
    ]
