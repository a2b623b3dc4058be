"""The newest batch that was not read: shown from the history, and never again once it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from tests.lab.histories import record_batch
from tests.lab.newsroom import DAY_MS, NOW_MS
from tidings.reading.acts import Action
from tidings.reading.tracking import Shown
from tidings.reading.unread import UnreadBatches
from tidings.store.keys import READ

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


def seen(stamp_ms: int, channel_id: int = CHANNEL) -> Shown:
    return Shown(Action.EXPOSURE, READER, channel_id, stamp_ms=stamp_ms)


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
    unread: UnreadBatches, stamps: list[int]
) -> None:
    unread.mark_read([seen(stamps[2])])

    assert found(unread) is None
    assert unread.newest_stamp(READER, CHANNEL) == stamps[2]


def test_the_mark_only_ever_moves_forward(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    """Reports of phones come in any order, and two gateways may take them in at once."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda stamp: unread.mark_read([seen(stamp)]), stamps[::-1] * 20))

    assert redis_client.get(READ.of(READER, CHANNEL)) == b"%d" % stamps[2]
    assert found(unread) is None


def test_a_report_of_several_batches_marks_the_newest_of_each_channel(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    unread.mark_read([seen(stamps[1]), seen(stamps[0]), seen(stamps[0], channel_id=0)])

    assert redis_client.get(READ.of(READER, CHANNEL)) == b"%d" % stamps[1]
    assert redis_client.get(READ.of(READER, 0)) == b"%d" % stamps[0]
    assert found(unread) == [5, 6]


def test_the_mark_outlives_the_day_in_which_its_batch_could_be_shown(
    unread: UnreadBatches, stamps: list[int], redis_client: Redis
) -> None:
    unread.mark_read([seen(stamps[2])])

    assert redis_client.pttl(READ.of(READER, CHANNEL)) > DAY_MS - 10_000
    assert unread.find(READER, CHANNEL, stamps[2] + DAY_MS) is None
