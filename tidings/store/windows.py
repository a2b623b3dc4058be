"""Counts in sliding windows: how often something was done in the last minute, and whether it may be
done once more.

A window is seven slots of a sixth of its length, the newest one being filled: what they hold
together never exceeds the quota, so no stretch of a window's length does either, and what is kept
is a dozen bytes however large the quota is. All windows of a question are read, judged and counted
by one script, so that two gateways never both give the last place away. Rejected: a sorted set of
moments, which is exact to the millisecond and costs 70 bytes for each of them; two counters of a
whole window each, which let twice the quota through in a second; and a bucket that refills, which
does as well.

    windows = SlidingWindows(redis, window_s=60)
    taken = windows.take([Window(LIMITS_OF_READER.of(7), "feed", quota=120)])
    taken.is_admitted, taken.rooms[0].left, taken.rooms[0].wait_s  # True, 119, 60
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis

# The finer, the later does a quota that was used up come back at once; at six, a place that was
# taken is free again after one to one and a sixth of the window.
SLOTS = 6

# KEYS: of each window the hash that it stands in. ARGV: now in ms or 0, ms of a slot, slots besides
# the newest, TTL in s, how many windows must have room; then of each window its field and quota.
# A field is the number of the newest slot, then what each slot holds, newest first.
# Returns whether it is admitted, then of each window whether it had room, what is left of it, and
# the ms until it has more. Where now is 0 it is Redis's own, since the clocks of two gateways may
# differ by more than a window. That one may be set back: a little, and what comes is counted into
# the newest slot; by more than a window, and what lies ahead is forgotten.
_TAKE = """
local now, slot_ms, slots = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local needed = tonumber(ARGV[5])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local held, admitted = {}, 1
for at = 1, #KEYS do
    local raw = redis.call('HGET', KEYS[at], ARGV[4 + 2 * at])
    local newest, before, total = math.floor(now / slot_ms), nil, 0
    if raw then before = cmsgpack.unpack(raw) end
    if before and before[1] > newest + slots then before = nil end
    if before and before[1] > newest then newest = before[1] end
    local mine = {newest}
    for slot = 0, slots do
        local from = before and slot - (newest - before[1]) or -1
        mine[slot + 2] = from >= 0 and before[from + 2] or 0
        total = total + mine[slot + 2]
    end
    local quota = tonumber(ARGV[5 + 2 * at])
    held[at] = {mine = mine, total = total, quota = quota, has_room = total < quota and 1 or 0}
    if at <= needed and total >= quota then admitted = 0 end
end
local answer = {admitted}
for at = 1, #KEYS do
    local one = held[at]
    if admitted == 1 and one.has_room == 1 then
        one.mine[2], one.total = one.mine[2] + 1, one.total + 1
        redis.call('HSET', KEYS[at], ARGV[4 + 2 * at], cmsgpack.pack(one.mine))
        redis.call('EXPIRE', KEYS[at], ARGV[4])
    end
    local wanted, leaves = math.max(one.total - one.quota + 1, 1), -1
    for slot = slots, 0, -1 do
        wanted = wanted - one.mine[slot + 2]
        leaves = slot
        if wanted <= 0 then break end
    end
    answer[#answer + 1] = one.has_room
    answer[#answer + 1] = math.max(one.quota - one.total, 0)
    answer[#answer + 1] = (one.mine[1] + slots + 1 - leaves) * slot_ms - now
end
return answer
"""


class Window(NamedTuple):
    """What is counted.

    Attributes:
        key: the hash that it stands in.
        field: which of the windows of that hash.
        quota: how often, at most; above 0.
    """

    key: str
    field: str
    quota: int


class Room(NamedTuple):
    """What a window has left, this time counted.

    Attributes:
        has_room: whether there was a place.
        left: how many more there are.
        wait_s: whole seconds until there is another one.
    """

    has_room: bool
    left: int
    wait_s: int


class Taken(NamedTuple):
    """What became of it.

    Attributes:
        is_admitted: all that are needed had room.
        rooms: one for each window, in their order.
    """

    is_admitted: bool
    rooms: Sequence[Room]


class SlidingWindows:
    """Windows of one length, in Redis; one object for all threads.

    Args:
        redis: keeps them. In a Cluster all keys of a question must lie in one slot.
        window_s: how long one is.
    """

    def __init__(self, redis: Redis, window_s: int) -> None:
        self.window_s = window_s
        self._take = redis.register_script(_TAKE)
        # A slot of whole milliseconds, rounded up: a window is never shorter than it says.
        self._slot_ms = math.ceil(window_s * 1000 / SLOTS)
        self._ttl_s = math.ceil(self._slot_ms * (SLOTS + 1) / 1000)

    def take(
        self, needed: Sequence[Window], wished: Sequence[Window] = (), *, now_ms: int = 0
    ) -> Taken:
        """Take a place in each of `needed`, or in none of them where one has no room; and in those
        of `wished` that have room, if the first were taken.

        Args:
            now_ms: since the epoch; 0 is now by the clock of Redis, which all gateways share.

        Raises:
            RedisError: nothing is known of it.
        """
        windows = (*needed, *wished)
        args: list[Any] = [now_ms, self._slot_ms, SLOTS, self._ttl_s, len(needed)]
        for window in windows:
            args += (window.field, window.quota)
        answer: Any = self._take(keys=[window.key for window in windows], args=args)
        rooms = [
            Room(bool(answer[at]), answer[at + 1], math.ceil(answer[at + 2] / 1000))
            for at in range(1, len(answer), 3)
        ]
        return Taken(bool(answer[0]), rooms)
