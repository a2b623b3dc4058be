"""The newest batch that was not read: shown from the history, and never again once it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from tests.lab.histories import record_batch
from tests.lab.newsroom import DAY_MS, NOW_MS
from tidings.reading.noting import ReaderNotes
from tidings.reading.unread import UnreadBatches

READER, CHANNEL = 7, 10


@pytest.fixture
def unread(redis_client: Redis) -> UnreadBatches:
    return UnreadBatches(redis_client)


@pytest.fixture
def stamps(redis_client: Redis) -> list[int]:
    """The stamps of three batches that were recorded, a second apart."""
    return [
        record_batch(
            redis_client,
            READER,
            CHANNEL,
            ids=[place * 2 + 1, place * 2 + 2],
            now_ms=NOW_MS + place * 1000,
        )
        for place in range(3)
    ]


def mark_read(redis: Redis, *stamps: int) -> None:
    """Note that these batches were seen, as a report does."""
    with redis.pipeline() as pipe:
        ReaderNotes(ttl_s=DAY_MS // 1000).note_exposures(pipe, READER, stamps)
        pipe.execute()


def found(unread: UnreadBatches) -> list[int] | None:
    """The articles of the batch that would be shown again."""
    one = unread.find(READER, CHANNEL, NOW_MS + 5000)
    return None if one is None else list(one.batch.article_ids)


def test_the_newest_batch_is_found_with_the_one_before_it(
    unread: UnreadBatches, stamps: list[int]
) -> None:
    one = unread.find(READER, CHANNEL, NOW_MS + 5000)

    assert one is not None
    assert (one.batch.stamp_ms, list(one.batch.article_ids)) == (stamps[2], [5, 6])
    assert one.before_ms == stamps[1]
    assert unread.newest_stamp(READER, CHANNEL) == stamps[2]


def test_where_nothing_was_recorded_nothing_is_found(unread: UnreadBatches) -> None:
    assert unread.find(READER, CHANNEL, NOW_MS) is None
    assert unread.newest_stamp(READER, CHANNEL) == 0


def test_a_batch_that_was_read_is_not_found_and_those_before_it_neither(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    mark_read(redis_client, stamps[2])

    assert found(unread) is None
    assert unread.newest_stamp(READER, CHANNEL) == stamps[2]


def test_an_older_batch_that_is_reported_late_shows_no_newer_one_again(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    """Reports of phones come in any order, and two gateways may take them in at once."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda stamp: mark_read(redis_client, stamp), stamps[::-1] * 20))

    assert found(unread) is None


def test_what_was_read_in_another_channel_says_nothing_of_this_one(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    elsewhere = record_batch(redis_client, READER, 0, ids=[7], now_ms=NOW_MS + 9000)
    mark_read(redis_client, stamps[1], stamps[0], elsewhere)

    assert found(unread) == [5, 6]
    assert unread.find(READER, 0, NOW_MS + 9000) is None


def test_a_batch_that_is_a_day_old_is_not_found(unread: UnreadBatches, stamps: list[int]) -> None:
    assert unread.find(READER, CHANNEL, stamps[2] + DAY_MS) is None
