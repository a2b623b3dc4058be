"""The behaviour log: what readers did, durably and in order, from the door to SQL and for ten
minutes after.

An entry is one report, whole. A consumer group moves entries to SQL; workers that follow what
readers do read the same log from where they are. What SQL does not have yet is counted with each
entry that comes and goes, so that a full backlog is known by one number; the count is set right
whenever nothing waits. Rejected: the length of the stream, which holds what SQL has as well; the
`lag` that Redis tells, which old servers do not know; and an entry an event, which costs the door
five times as much.

    log = BehaviourLog(redis, backlog_limit=1_000_000)
    log.append(events)
    taken = log.take("daemon-1", block_ms=None, count=64)
    log.acknowledge(taken)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec
import structlog
from prometheus_client import Counter
from redis import Redis, ResponseError

from tidings.reading.events import Event, decode, encode
from tidings.store.keys import (
    BEHAVIOUR_FLOORS,
    BEHAVIOUR_LOG,
    BEHAVIOUR_WAITING,
    DEAD_BEHAVIOUR,
)

LOG = BEHAVIOUR_LOG.of()
DEAD_STREAM = DEAD_BEHAVIOUR.of()
GROUP = "fold"
CLAIM_AFTER_MS = 30_000
KEEP_S = 600
FLOOR_EVERY_S = 60
BEGINNING = b"0-0"
UNLIMITED = 2**53

log = structlog.get_logger(__name__)
UNDECODABLE = Counter(
    "tidings_behaviours_undecodable_total", "Entries of the behaviour log that could not be read"
)

# KEYS: log, waiting. ARGV: most that may wait, events, the entry.
# Returns whether there was room.
_APPEND = """
if tonumber(redis.call('GET', KEYS[2]) or '0') + ARGV[2] > tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'n', ARGV[2], 'e', ARGV[3])
redis.call('INCRBY', KEYS[2], ARGV[2])
return 1
"""
# KEYS: log, waiting, floors. ARGV: group, seconds between floors, floors kept, then for each entry
# its id and its events. A floor is the id up to which SQL had everything at that time: what lies
# below the oldest one was in SQL ten minutes ago, and goes.
_ACKNOWLEDGE = """
local done = 0
for at = 4, #ARGV, 2 do
    if redis.call('XACK', KEYS[1], ARGV[1], ARGV[at]) == 1 then done = done + ARGV[at + 1] end
end
local left = redis.call('DECRBY', KEYS[2], done)
local floor
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local facts = {}
    for at = 1, #group, 2 do facts[group[at]] = group[at + 1] end
    if facts['name'] == ARGV[1] then
        if facts['pending'] > 0 then
            floor = redis.call('XPENDING', KEYS[1], ARGV[1])[2]
        else
            floor = facts['last-delivered-id']
            local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
            if left ~= 0 and (not newest or newest[1] == floor) then
                left = 0
                redis.call('SET', KEYS[2], 0)
            end
        end
    end
end
if left < 0 then redis.call('SET', KEYS[2], 0) end
local now = tonumber(redis.call('TIME')[1])
local last = redis.call('LINDEX', KEYS[3], -1)
if floor and (not last or now - tonumber(string.match(last, '^%d+')) >= tonumber(ARGV[2])) then
    redis.call('RPUSH', KEYS[3], now .. ' ' .. floor)
    if redis.call('LLEN', KEYS[3]) > tonumber(ARGV[3]) then
        local oldest = redis.call('LPOP', KEYS[3])
        redis.call('XTRIM', KEYS[1], 'MINID', string.match(oldest, '%S+$'))
    end
end
return done
"""


_OnError: TypeAlias = Callable[[bytes, Any, Exception], object]


class BacklogFullError(Exception):
    """So many events wait for SQL that no more are taken in; the caller keeps them and tries
    again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in the log under one id; without events if it cannot be read."""

    entry_id: bytes
    size: int
    events: Sequence[Event]

    def order(self, index: int) -> int:
        """The place of its event `index` among all events of the log; later ones have more."""
        ms, _, number = self.entry_id.partition(b"-")
        return int(ms) << 20 | min(int(number), 0x1FFF) << 7 | min(index, 0x7F)


class Read(NamedTuple):
    """A piece of the log: its events in order, and the id to read on from."""

    events: list[Event]
    last_id: bytes


class BehaviourLog:
    """Appends to the log, and takes entries out of it for SQL.

    Args:
        redis: keeps the log; how durable an appended event is, is its `appendfsync`.
        backlog_limit: events that may wait for SQL before `BacklogFullError`. What is moved here
            was taken in already, so there is no limit for it.
    """

    def __init__(self, redis: Redis, backlog_limit: int = UNLIMITED) -> None:
        self._redis = redis
        self._backlog_limit = backlog_limit
        self._append = redis.register_script(_APPEND)
        self._acknowledge = redis.register_script(_ACKNOWLEDGE)

    def append(self, events: Sequence[Event]) -> None:
        """Put these events into the log, all or none.

        Raises:
            BacklogFullError: nothing was stored.
            RedisError: nothing may have been stored; appending again is safe.
        """
        has_room = self._append(
            keys=[LOG, BEHAVIOUR_WAITING.of()],
            args=[self._backlog_limit, len(events), encode(events)],
        )
        if not has_room:
            raise BacklogFullError("too many events wait to be stored; report again later")

    def take(self, consumer: str, *, block_ms: int | None, count: int) -> list[Entry]:
        """Entries that this consumer has to acknowledge: what others took and did not finish within
        30 s, or else what is new.

        Args:
            consumer: names it; the same one may not take twice at the same time.
            block_ms: how long to wait for an entry when there is none; None returns at once.
            count: most entries.
        """
        self._ensure_group()
        claimed: Any = self._redis.xautoclaim(LOG, GROUP, consumer, CLAIM_AFTER_MS, count=count)
        entries = [entry for entry in claimed[1] if entry[1]]
        if not entries:
            answer: Any = self._redis.xreadgroup(
                GROUP, consumer, {LOG: ">"}, count=count, block=block_ms
            )
            entries = _entries_of(answer)
        return [
            _read_entry(entry_id, fields, partial(set_aside, self._redis))
            for entry_id, fields in entries
        ]

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """SQL has these entries; they stay readable for ten minutes."""
        pairs: list[bytes | int] = []
        for entry in entries:
            pairs += (entry.entry_id, entry.size)
        self._acknowledge(
            keys=[LOG, BEHAVIOUR_WAITING.of(), BEHAVIOUR_FLOORS.of()],
            args=[GROUP, FLOOR_EVERY_S, KEEP_S // FLOOR_EVERY_S, *pairs],
        )

    def _ensure_group(self) -> None:
        try:
            self._redis.xgroup_create(LOG, GROUP, id="0", mkstream=True)
        except ResponseError as ex:
            if "BUSYGROUP" not in str(ex):
                raise


def read_log(redis: Redis, after: bytes, count: int, block_ms: int | None = None) -> Read:
    """What stands in the log after an entry, at most `count` entries of it.

    Args:
        after: an entry's id, as `Read.last_id` or `log_end` gave it; `BEGINNING` for all there is.
        block_ms: how long to wait for an entry when there is none; None returns at once. Keep it
            below Redis's own time-out.
    """
    answer: Any = redis.xread({LOG: after}, count=count, block=block_ms)
    events: list[Event] = []
    last_id = after
    for entry_id, fields in _entries_of(answer):
        events += _read_entry(entry_id, fields, _skip).events
        last_id = entry_id
    return Read(events, last_id)


def set_aside(redis: Redis, entry_id: bytes, fields: Any, ex: Exception) -> None:
    """Keep what cannot be read for people to look at."""
    log.error("behaviour_set_aside", entry=entry_id.decode(), stream=DEAD_STREAM, error=repr(ex))
    UNDECODABLE.inc()
    redis.xadd(DEAD_STREAM, fields, maxlen=DEAD_BEHAVIOUR.most)


def log_end(redis: Redis) -> bytes:
    """The id of the newest entry; `BEGINNING` if there is none."""
    newest: Any = redis.xrevrange(LOG, count=1)
    return bytes(newest[0][0]) if newest else BEGINNING


def _entries_of(answer: Any) -> list[tuple[bytes, Any]]:
    if not answer:
        return []
    streams = answer.items() if isinstance(answer, dict) else answer
    (_, entries), *_ = streams
    return list(entries)


def _read_entry(entry_id: bytes, fields: Any, on_error: _OnError) -> Entry:
    size = fields.get(b"n", b"0")
    number = int(size) if size.isdigit() else 0
    try:
        events, refused = decode(fields[b"e"])
    except (msgspec.MsgspecError, KeyError) as ex:
        on_error(entry_id, fields, ex)
        return Entry(entry_id, number, [])
    for piece, reason in refused:
        on_error(entry_id, {b"n": b"1", b"e": b"\x91" + piece}, reason)  # an array of one
    return Entry(entry_id, number, events)


def _skip(_entry_id: bytes, _fields: Any, _ex: Exception) -> None:
    """What folds the log sets it aside and tells it; who reads along does not, once more."""
