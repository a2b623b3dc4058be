"""What a reader was shown, on a real Redis, against a model in plain Python that is easy to
believe."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis.crc import key_slot

from tests.lab.newsroom import DAY_MS, NOW_MS
from tidings.reading.history import Batch, History, find_batches

BATCHES_KEPT = 4
SEEN_KEPT = 12
TTL_S = 30 * 24 * 3600
READER, CHANNEL = 7, 10

article_ids = st.lists(
    st.integers(1, 30) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8, unique=True
)


@pytest.fixture
def history(redis_client: redis.Redis) -> History:
    return History(redis_client, batches_kept=BATCHES_KEPT, seen_kept=SEEN_KEPT, ttl_s=TTL_S)


def record(history: History, ids: list[int], now_ms: int, channel_id: int = CHANNEL) -> int:
    """Record a batch as a lone caller does, and return its stamp."""
    version = history.read(READER, channel_id, now_ms).version
    stamp_ms = history.record(READER, channel_id, ids, version=version, now_ms=now_ms)
    assert stamp_ms is not None
    return stamp_ms


class HistoryAgainstModel(RuleBasedStateMachine):
    """Two readers in three channels do anything in any order, by a clock that does as it likes."""

    redis: redis.Redis

    @initialize()
    def start(self) -> None:
        self.redis.flushall()
        self.history = History(
            self.redis, batches_kept=BATCHES_KEPT, seen_kept=SEEN_KEPT, ttl_s=TTL_S
        )
        self.now_ms = NOW_MS
        self.batches: dict[tuple[int, int], list[Batch]] = {}
        self.shown: dict[int, list[int]] = {}
        self.versions: dict[int, int] = {}

    @rule(by_ms=st.integers(-DAY_MS, DAY_MS) | st.integers(-2, 2))
    def the_clock_moves(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule(reader_id=st.integers(1, 2), channel_id=st.integers(0, 2), ids=article_ids)
    def a_batch_is_recorded(self, reader_id: int, channel_id: int, ids: list[int]) -> None:
        version = self.versions.get(reader_id, 0)
        stamp_ms = self.history.record(
            reader_id, channel_id, ids, version=version, now_ms=self.now_ms
        )

        assert max(self.now_ms, version + 1) == stamp_ms
        self.versions[reader_id] = stamp_ms
        self.batches.setdefault((reader_id, channel_id), []).append(Batch(stamp_ms, ids))
        self.shown.setdefault(reader_id, []).extend(ids)

    @rule(
        reader_id=st.integers(1, 2),
        channel_id=st.integers(0, 2),
        behind=st.integers(1, 10**6),
        ids=article_ids,
    )
    def a_batch_chosen_from_an_old_state_is_turned_away(
        self, reader_id: int, channel_id: int, behind: int, ids: list[int]
    ) -> None:
        version = self.versions.get(reader_id, 0)

        assert (
            self.history.record(
                reader_id, channel_id, ids, version=version - behind, now_ms=self.now_ms
            )
            is None
        )

    @rule(
        reader_id=st.integers(1, 2),
        channel_id=st.integers(0, 2),
        before_ms=st.integers(-DAY_MS, DAY_MS),
    )
    def a_page_is_the_newest_batch_at_that_moment(
        self, reader_id: int, channel_id: int, before_ms: int
    ) -> None:
        at_ms = self.now_ms - before_ms
        kept = self.batches.get((reader_id, channel_id), [])[-BATCHES_KEPT:]
        at_or_before = [batch for batch in kept if batch.stamp_ms <= at_ms]
        state = self.history.read(reader_id, channel_id, at_ms)

        assert (at_or_before[-1] if at_or_before else None) == in_lists(state.page)
        assert (at_or_before[-2].stamp_ms if len(at_or_before) > 1 else 0) == state.page_before_ms

    @rule(reader_id=st.integers(1, 2), channel_id=st.integers(0, 2))
    def paging_back_visits_every_kept_batch_once(self, reader_id: int, channel_id: int) -> None:
        kept = self.batches.get((reader_id, channel_id), [])[-BATCHES_KEPT:]
        visited, at_ms = [], self.history.read(reader_id, channel_id, self.now_ms).newest_ms
        while at_ms:
            state = self.history.read(reader_id, channel_id, at_ms)
            visited.append(in_lists(state.page))
            at_ms = state.page_before_ms

        assert kept[::-1] == visited

    @rule(reader_id=st.integers(1, 2), channel_id=st.integers(0, 2))
    def batches_are_found_by_their_stamps(self, reader_id: int, channel_id: int) -> None:
        recorded = self.batches.get((reader_id, channel_id), [])
        expected = [None] * len(recorded[:-BATCHES_KEPT]) + recorded[-BATCHES_KEPT:]
        found = find_batches(
            self.redis, [(reader_id, channel_id, batch.stamp_ms) for batch in recorded]
        )

        assert expected == [in_lists(batch) for batch in found]

    @invariant()
    def the_state_is_the_models(self) -> None:
        for reader_id in (1, 2):
            seen = list(dict.fromkeys(reversed(self.shown.get(reader_id, [])[-SEEN_KEPT:])))[::-1]
            for channel_id in (0, 1, 2):
                state = self.history.read(reader_id, channel_id, self.now_ms)
                newest = self.batches.get((reader_id, channel_id), [Batch(0, [])])[-1]
                expected = (self.versions.get(reader_id, 0), newest.stamp_ms, seen)
                assert expected == (state.version, state.newest_ms, list(state.seen))

    @invariant()
    def no_key_is_without_bounds(self) -> None:
        for key in self.redis.scan_iter():
            assert TTL_S - 100 < self.redis.ttl(key) <= TTL_S
            if self.redis.type(key) == b"zset":
                assert self.redis.zcard(key) <= BATCHES_KEPT
            else:
                assert self.redis.strlen(key) <= SEEN_KEPT * 8


def in_lists(batch: Batch | None) -> Batch | None:
    """The same batch with its ids in a list, so that it equals the model's."""
    return None if batch is None else Batch(batch.stamp_ms, list(batch.article_ids))


def test_history_does_what_its_model_does(redis_client: redis.Redis) -> None:
    """Fresh batches, pages, stamps, what was seen, bounds and TTLs agree with a plain list, in any
    order of events."""

    class Machine(HistoryAgainstModel):
        redis = redis_client

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


def test_a_new_reader_has_an_empty_state(history: History) -> None:
    """A reader needs no introduction: one who was never here has no version, no page and has seen
    nothing."""
    state = history.read(READER, CHANNEL, NOW_MS)

    assert (
        state.version,
        state.newest_ms,
        list(state.seen),
        state.page,
        state.page_before_ms,
    ) == (0, 0, [], None, 0)


def test_stamps_increase_though_the_clock_stands_still_or_goes_back(history: History) -> None:
    """Two batches of one millisecond, or of a server whose clock was set back by a day, are still
    told apart."""
    stamps = [
        record(history, [1], now_ms)
        for now_ms in (NOW_MS, NOW_MS, NOW_MS, NOW_MS - DAY_MS, NOW_MS + 5)
    ]

    assert stamps == [NOW_MS, NOW_MS + 1, NOW_MS + 2, NOW_MS + 3, NOW_MS + 5]


def test_stamps_are_unique_across_a_readers_channels(history: History) -> None:
    """The version is the reader's, not the channel's, so that two channels cannot show one article
    at the same time."""
    stamps = [record(history, [number], NOW_MS, channel_id=number % 3) for number in range(6)]

    assert list(range(NOW_MS, NOW_MS + 6)) == stamps


def test_batches_added_meanwhile_move_nobody_who_is_paging_back(redis_client: redis.Redis) -> None:
    """A reader who walks back by the stamps given out meets each older batch once, whatever is
    added in front."""
    history = History(redis_client, batches_kept=100, seen_kept=100, ttl_s=TTL_S)
    stamps = [record(history, [number], NOW_MS) for number in range(5)]
    visited, at_ms = [], stamps[-1]
    while at_ms:
        record(history, [99], NOW_MS)
        state = history.read(READER, CHANNEL, at_ms)
        assert state.page is not None
        visited.append(list(state.page.article_ids))
        at_ms = state.page_before_ms

    assert visited == [[4], [3], [2], [1], [0]]


def test_of_twenty_records_at_once_exactly_one_wins(
    history: History, redis_client: redis.Redis
) -> None:
    """Batches chosen from the same state may overlap: one is recorded, the nineteen others are told
    to choose again."""
    at_once = Barrier(20)

    def try_to_record(number: int) -> int | None:
        at_once.wait(10)
        return history.record(READER, number % 3, [number], version=0, now_ms=NOW_MS)

    with ThreadPoolExecutor(20) as pool:
        stamps = list(pool.map(try_to_record, range(20)))
    winners = [number for number, stamp_ms in enumerate(stamps) if stamp_ms is not None]

    assert len(winners) == 1
    assert winners == list(history.read(READER, CHANNEL, NOW_MS).seen)
    assert (
        redis_client.dbsize() == 3
    )  # the winner's version, seen and history; nothing of the others


def test_an_article_shown_again_counts_as_shown_last(history: History) -> None:
    """When a channel is exhausted the oldest come again: an article shown again goes to the end of
    that queue."""
    record(history, [1, 2, 3], NOW_MS)
    record(history, [1], NOW_MS)

    assert list(history.read(READER, CHANNEL, NOW_MS).seen) == [2, 3, 1]


def test_only_the_newest_exposures_are_remembered(history: History) -> None:
    """What is not shown again is bounded: the longest ago is forgotten first, and never half an
    id."""
    for number in range(5):
        record(history, [10 * number + place for place in range(5)], NOW_MS)

    assert [23, 24, *range(30, 35), *range(40, 45)] == list(
        history.read(READER, CHANNEL, NOW_MS).seen
    )


def test_one_reader_knows_nothing_of_another(history: History) -> None:
    """Reader 1 in channel 11 and reader 11 in channel 1 share no key."""
    history.record(1, 11, [5], version=0, now_ms=NOW_MS)

    assert list(history.read(11, 1, NOW_MS).seen) == []
    assert history.read(11, 11, NOW_MS).version == 0


def test_a_readers_keys_share_one_slot(history: History, redis_client: redis.Redis) -> None:
    """In a Redis Cluster a script may only touch keys of one slot."""
    for channel_id in (0, 1, 2**31 - 1):
        record(history, [1], NOW_MS, channel_id=channel_id)

    assert redis_client.dbsize() == 5
    assert len({key_slot(key) for key in redis_client.scan_iter()}) == 1


def test_a_script_that_redis_forgot_is_loaded_again(
    history: History, redis_client: redis.Redis
) -> None:
    """A Redis that was restarted knows no scripts; the next batch is recorded all the same."""
    record(history, [1], NOW_MS)
    redis_client.script_flush()

    assert record(history, [2], NOW_MS) == NOW_MS + 1
