"""Sliding windows on a real Redis: never more than the quota in any stretch of a window's length,
and a place again when it was promised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.lab.newsroom import NOW_MS
from tidings.store.keys import LIMITS_OF_ADDRESS, LIMITS_OF_READER
from tidings.store.windows import SLOTS, SlidingWindows, Taken, Window

WINDOW_S = 60
WINDOW_MS = WINDOW_S * 1000
READER = LIMITS_OF_READER.of(7)
ADDRESS = LIMITS_OF_ADDRESS.of(2130706433)


@pytest.fixture
def windows(redis_client: Redis) -> SlidingWindows:
    return SlidingWindows(redis_client, WINDOW_S)


def ask(windows: SlidingWindows, now_ms: int = NOW_MS, quota: int = 3) -> Taken:
    return windows.take([Window(READER, "feed", quota)], now_ms=now_ms)


# The clocks of two gateways differ by some milliseconds: steps may go back a little.
@settings(max_examples=60)
@given(
    quota=st.integers(1, 6),
    steps=st.lists(st.integers(-50, 40_000) | st.integers(0, 900), min_size=1, max_size=60),
)
def test_no_stretch_of_a_windows_length_ever_holds_more_than_the_quota(
    redis_server: Any, quota: int, steps: list[int]
) -> None:
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
        windows = SlidingWindows(redis, WINDOW_S)
        now_ms, admitted = NOW_MS, []
        for step in steps:
            now_ms += step
            taken = ask(windows, now_ms, quota)
            if taken.is_admitted:
                admitted.append(now_ms)
            else:
                assert taken.rooms[0].left == 0
                # By the time that is told there is a place: asked at that moment, on a copy.
                copy = redis.dump(READER)
                later = ask(windows, now_ms + taken.rooms[0].wait_s * 1000, quota)
                assert later.is_admitted
                redis.restore(READER, 0, copy, replace=True)
    for moment in admitted:
        inside = [one for one in admitted if moment <= one < moment + WINDOW_MS - 50]
        assert len(inside) <= quota


def test_what_is_left_and_when_there_is_more_is_told(windows: SlidingWindows) -> None:
    told = [ask(windows, NOW_MS + second * 1000) for second in (0, 1, 2, 3)]

    assert [taken.is_admitted for taken in told] == [True, True, True, False]
    assert [taken.rooms[0].left for taken in told] == [2, 1, 0, 0]
    for second, taken in enumerate(told):
        assert WINDOW_S - second <= taken.rooms[0].wait_s <= WINDOW_S * (1 + 1 / SLOTS) - second


def test_a_quota_that_was_used_up_slowly_comes_back_slowly(windows: SlidingWindows) -> None:
    for second in (0, 20, 40):
        assert ask(windows, NOW_MS + second * 1000).is_admitted

    late = [ask(windows, NOW_MS + second * 1000).is_admitted for second in (50, 71, 72, 91, 92)]

    assert late == [False, True, False, True, False]


def test_a_request_that_is_refused_is_counted_nowhere(windows: SlidingWindows) -> None:
    small, large = Window(READER, "feed", 1), Window(ADDRESS, "feed", 10)
    assert windows.take([small, large], now_ms=NOW_MS).is_admitted

    refused = windows.take([small, large], [Window(ADDRESS, "new", 5)], now_ms=NOW_MS)

    assert not refused.is_admitted
    assert [room.has_room for room in refused.rooms] == [False, True, True]
    assert windows.take([large], now_ms=NOW_MS).rooms[0].left == 8
    assert windows.take([Window(ADDRESS, "new", 5)], now_ms=NOW_MS).rooms[0].left == 4


def test_a_place_that_is_only_wished_for_refuses_nothing(windows: SlidingWindows) -> None:
    needed, wished = Window(ADDRESS, "feed", 10), Window(ADDRESS, "new", 2)

    taken = [windows.take([needed], [wished], now_ms=NOW_MS) for _ in range(4)]

    assert all(one.is_admitted for one in taken)
    assert [one.rooms[1].has_room for one in taken] == [True, True, False, False]
    assert taken[-1].rooms[0].left == 6


def test_gateways_whose_clocks_differ_count_by_the_clock_of_redis(
    windows: SlidingWindows, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clocks more than a window apart would each wipe out what the other has counted."""
    window, admitted = Window(READER, "feed", 3), 0
    for ahead_s in (0, -75, 3600, 0, -75, 3600):
        monkeypatch.setattr("time.time", lambda ahead_s=ahead_s: NOW_MS / 1000 + ahead_s)
        admitted += windows.take([window]).is_admitted

    assert admitted == 3
    assert 0 < windows.take([window]).rooms[0].wait_s <= WINDOW_S * 7 / 6


def test_of_two_hundred_at_once_exactly_the_quota_is_admitted(redis_client: Redis) -> None:
    gateways = [SlidingWindows(redis_client, WINDOW_S) for _ in range(2)]

    with ThreadPoolExecutor(16) as threads:
        told = list(threads.map(lambda n: ask(gateways[n % 2], NOW_MS, 50), range(200)))

    assert sum(taken.is_admitted for taken in told) == 50


def test_what_a_clock_that_is_hours_ahead_wrote_shuts_no_door(windows: SlidingWindows) -> None:
    for _ in range(3):
        ask(windows, NOW_MS + 3_600_000)

    assert ask(windows).is_admitted


def test_a_window_is_gone_soon_after_its_end_and_is_small(
    windows: SlidingWindows, redis_client: Redis
) -> None:
    for field in ("feed", "report", "write", "order", "new"):
        for second in range(0, 70, 3):
            windows.take([Window(ADDRESS, field, 10**6)], now_ms=NOW_MS + second * 1000)

    left_s: Any = redis_client.ttl(ADDRESS)
    assert WINDOW_S < left_s <= WINDOW_S * (1 + 1 / SLOTS)
    size: Any = redis_client.memory_usage(ADDRESS)
    assert size <= LIMITS_OF_ADDRESS.most
