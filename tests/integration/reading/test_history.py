"""What a reader was shown, on a real Redis, against a model in plain Python that is easy to
believe."""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

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

from tests.lab.histories import make_batch, make_history
from tests.lab.newsroom import DAY_MS, NOW_MS
from tidings.process.settings.reading import ReadingSettings
from tidings.reading.acts import Action
from tidings.reading.damaged import CORRUPT
from tidings.reading.history import History, find_batches
from tidings.reading.noting import Hideable, ReaderNotes
from tidings.reading.reader_state import Acted, Batch, ReaderState
from tidings.store.keys import HISTORY, SEEN, VERSION
from tidings.store.keys import READER as READER_KEY

BATCHES_KEPT = 4
SEEN_KEPT = 12
TTL_S = 30 * 24 * 3600
READER, CHANNEL = 7, 10

article_ids = st.lists(
    st.integers(1, 30) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8, unique=True
)


@pytest.fixture
def history(redis_client: redis.Redis) -> History:
    return make_history(redis_client, batches_kept=BATCHES_KEPT, seen_kept=SEEN_KEPT)


def record(history: History, ids: list[int], now_ms: int, channel_id: int = CHANNEL) -> int:
    """Record a batch as a lone caller does, and return its stamp."""
    batch = history.record(READER, make_batch(ids, channel_id, now_ms), history.read(READER))
    assert batch is not None
    return batch.stamp_ms


def shown_to(history: History, reader_id: int = READER) -> list[int]:
    """What is not shown again, the longest ago first."""
    return history.read(reader_id).shown_before


class HistoryAgainstModel(RuleBasedStateMachine):
    """Two readers in three channels do anything in any order, by a clock that does as it likes."""

    redis: redis.Redis

    @initialize()
    def start(self) -> None:
        self.redis.flushall()
        self.history = make_history(self.redis, batches_kept=BATCHES_KEPT, seen_kept=SEEN_KEPT)
        self.now_ms = NOW_MS
        self.batches: dict[int, list[Batch]] = {1: [], 2: []}
        self.shown: dict[int, list[int]] = {1: [], 2: []}

    def kept(self, reader_id: int) -> list[Batch]:
        """The newest batches, as many as are kept and as hold no more than what is not repeated."""
        kept: list[Batch] = []
        for batch in reversed(self.batches[reader_id]):
            ids = sum(len(one.article_ids) for one in [*kept, batch])
            if kept and (len(kept) == BATCHES_KEPT or ids > SEEN_KEPT):
                break
            kept.insert(0, batch)
        return kept

    def kept_of(self, reader_id: int, channel_id: int) -> list[Batch]:
        return [batch for batch in self.kept(reader_id) if batch.channel_id == channel_id]

    @rule(by_ms=st.integers(-DAY_MS, DAY_MS) | st.integers(-2, 2))
    def the_clock_moves(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule(reader_id=st.integers(1, 2), channel_id=st.integers(0, 2), ids=article_ids)
    def a_batch_is_recorded(self, reader_id: int, channel_id: int, ids: list[int]) -> None:
        state = self.history.read(reader_id)
        batch = make_batch(ids, channel_id, self.now_ms)._replace(variant=3, context=0x21)
        recorded = self.history.record(reader_id, batch, state)

        newest_ms = self.batches[reader_id][-1].stamp_ms if self.batches[reader_id] else 0
        assert batch._replace(stamp_ms=max(self.now_ms, newest_ms + 1)) == recorded
        self.batches[reader_id].append(recorded)
        self.shown[reader_id].extend(ids)

    @rule(reader_id=st.integers(1, 2), behind=st.integers(1, 10**6), ids=article_ids)
    def a_batch_chosen_from_an_old_state_is_turned_away(
        self, reader_id: int, behind: int, ids: list[int]
    ) -> None:
        state = self.history.read(reader_id)
        old = ReaderState(state.version - behind, state.batches, older=state.older)

        assert self.history.record(reader_id, make_batch(ids), old) is None

    @rule(
        reader_id=st.integers(1, 2),
        channel_id=st.integers(0, 2),
        before_ms=st.integers(-DAY_MS, DAY_MS),
    )
    def a_page_is_the_newest_batch_at_that_moment(
        self, reader_id: int, channel_id: int, before_ms: int
    ) -> None:
        at_ms = self.now_ms - before_ms
        kept = self.kept_of(reader_id, channel_id)
        at_or_before = [batch for batch in kept if batch.stamp_ms <= at_ms]
        page, page_before_ms = self.history.read(reader_id).page_at(channel_id, at_ms)

        assert (at_or_before[-1] if at_or_before else None) == page
        assert (at_or_before[-2].stamp_ms if len(at_or_before) > 1 else 0) == page_before_ms

    @rule(reader_id=st.integers(1, 2), channel_id=st.integers(0, 2))
    def paging_back_visits_every_kept_batch_once(self, reader_id: int, channel_id: int) -> None:
        state = self.history.read(reader_id)
        visited, at_ms = [], state.newest_ms(channel_id)
        while at_ms:
            page, at_ms = state.page_at(channel_id, at_ms)
            visited.append(page)

        assert self.kept_of(reader_id, channel_id)[::-1] == visited

    @rule(reader_id=st.integers(1, 2))
    def batches_are_found_by_their_stamps(self, reader_id: int) -> None:
        recorded, kept = self.batches[reader_id], self.kept(reader_id)
        places = [(reader_id, batch.channel_id, batch.stamp_ms) for batch in recorded]

        assert [None] * (len(recorded) - len(kept)) + kept == find_batches(self.redis, places)

    @invariant()
    def the_state_is_the_models(self) -> None:
        for reader_id in (1, 2):
            state, kept = self.history.read(reader_id), self.kept(reader_id)
            in_kept = sum(len(batch.article_ids) for batch in kept)
            shown = self.shown[reader_id][-max(SEEN_KEPT, in_kept) :]
            assert kept == list(state.batches)
            assert (kept[-1].stamp_ms if kept else 0) == state.version
            assert sorted({*shown}) == state.seen.tolist()
            assert list(dict.fromkeys(reversed(shown)))[::-1] == state.shown_before

    @invariant()
    def no_key_is_without_bounds(self) -> None:
        for key in self.redis.scan_iter():
            assert TTL_S - 100 < self.redis.ttl(key) <= TTL_S
            if self.redis.type(key) == b"hash":
                assert self.redis.hstrlen(key, "shown") <= 20 + (SEEN_KEPT + 8) * 9 + 4 * 15


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
    state = history.read(READER)

    assert (state.version, state.newest_ms(CHANNEL), state.seen.tolist()) == (0, 0, [])
    assert state.page_at(CHANNEL, NOW_MS) == (None, 0)


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
    history = make_history(redis_client, batches_kept=100, seen_kept=100)
    stamps = [record(history, [number], NOW_MS) for number in range(5)]
    visited, at_ms = [], stamps[-1]
    while at_ms:
        record(history, [99], NOW_MS)
        page, at_ms = history.read(READER).page_at(CHANNEL, at_ms)
        assert page is not None
        visited.append(list(page.article_ids))

    assert visited == [[4], [3], [2], [1], [0]]


def test_of_twenty_records_at_once_exactly_one_wins(
    history: History, redis_client: redis.Redis
) -> None:
    """Batches chosen from the same state may overlap: one is recorded, the nineteen others are told
    to choose again."""
    at_once = Barrier(20)

    def try_to_record(number: int) -> Batch | None:
        at_once.wait(10)
        return history.record(READER, make_batch([number], number % 3), ReaderState())

    with ThreadPoolExecutor(20) as pool:
        recorded = list(pool.map(try_to_record, range(20)))
    (winner,) = (batch for batch in recorded if batch is not None)

    assert [winner] == list(history.read(READER).batches)
    assert redis_client.dbsize() == 2  # the reader's version and hash


def test_an_article_shown_again_counts_as_shown_last(history: History) -> None:
    """When a channel is exhausted the oldest come again: an article shown again goes to the end of
    that queue."""
    record(history, [1, 2, 3], NOW_MS)
    record(history, [1], NOW_MS)

    assert shown_to(history) == [2, 3, 1]


def test_only_the_newest_exposures_are_remembered(history: History) -> None:
    """What is not shown again is bounded: the longest ago is forgotten first, and never half an
    id."""
    for number in range(5):
        record(history, [10 * number + place for place in range(5)], NOW_MS)

    assert [23, 24, *range(30, 35), *range(40, 45)] == shown_to(history)


def test_one_reader_knows_nothing_of_another(history: History) -> None:
    """Reader 1 in channel 11 and reader 11 in channel 1 share no key."""
    history.record(1, make_batch([5], 11), ReaderState())

    assert shown_to(history, 11) == []
    assert history.read(11).version == 0


def test_a_readers_keys_share_one_slot(history: History, redis_client: redis.Redis) -> None:
    """In a Redis Cluster a script may only touch keys of one slot."""
    for channel_id in (0, 1, 2**31 - 1):
        record(history, [1], NOW_MS, channel_id=channel_id)

    assert redis_client.dbsize() == 2
    assert len({key_slot(key) for key in redis_client.scan_iter()}) == 1


def test_a_script_that_redis_forgot_is_loaded_again(
    history: History, redis_client: redis.Redis
) -> None:
    """A Redis that was restarted knows no scripts; the next batch is recorded all the same."""
    record(history, [1], NOW_MS)
    redis_client.script_flush()

    assert record(history, [2], NOW_MS) == NOW_MS + 1


def plant_as_before(redis_client: redis.Redis, channel_id: int, *, ids: list[int], at: int) -> None:
    """Record a batch as a worker of the release before does."""
    packed = array("q", ids).tobytes()
    redis_client.append(SEEN.of(READER), packed)
    redis_client.expire(SEEN.of(READER), TTL_S)
    redis_client.zadd(HISTORY.of(READER, channel_id), {b"%d:%s" % (at, packed): at})
    redis_client.expire(HISTORY.of(READER, channel_id), TTL_S)
    redis_client.set(VERSION.of(READER), at, ex=TTL_S)


def read_as_before(redis_client: redis.Redis, channel_id: int) -> tuple[int, list[int], list[int]]:
    """Version, what was seen and the stamps of a channel, as a worker of the release before reads
    them."""
    seen, version, scored = array("q"), VERSION.of(READER), HISTORY.of(READER, channel_id)
    kept: Any = redis_client.get(SEEN.of(READER))
    seen.frombytes(kept)
    batches: Any = redis_client.zrange(scored, 0, -1)
    return (
        int(redis_client.get(version) or 0),
        list(seen),
        [int(member.partition(b":")[0]) for member in batches],
    )


def test_a_reader_of_the_release_before_is_taken_over(
    redis_client: redis.Redis, history: History
) -> None:
    """What was shown comes not again, and every page of history is still there."""
    redis_client.append(SEEN.of(READER), array("q", [90, 91]).tobytes())
    plant_as_before(redis_client, 10, ids=[1, 2, 3], at=NOW_MS)
    plant_as_before(redis_client, 11, ids=[4, 5], at=NOW_MS + 1)
    record(history, [6], NOW_MS + 2)

    state = history.read(READER)
    assert state.shown_before == [90, 91, 1, 2, 3, 4, 5, 6]
    assert [(batch.channel_id, batch.stamp_ms) for batch in state.batches] == [
        (10, NOW_MS),
        (11, NOW_MS + 1),
        (10, NOW_MS + 2),
    ]
    assert state.batches[0].sources == bytes(3), "a source is not known"
    assert find_batches(redis_client, [(READER, 11, NOW_MS + 1)]) == [state.batches[1]]


def test_workers_of_both_releases_see_what_the_other_showed(
    redis_client: redis.Redis, history: History
) -> None:
    """In turn, on one Redis: one version, one list of what was seen, one history."""
    plant_as_before(redis_client, CHANNEL, ids=[1, 2], at=NOW_MS)
    record(history, [3, 4], NOW_MS + 1)
    assert read_as_before(redis_client, CHANNEL) == (
        NOW_MS + 1,
        [1, 2, 3, 4],
        [NOW_MS, NOW_MS + 1],
    )
    plant_as_before(redis_client, CHANNEL, ids=[5], at=NOW_MS + 2)
    record(history, [6], NOW_MS + 3)

    assert shown_to(history) == [1, 2, 3, 4, 5, 6]
    assert read_as_before(redis_client, CHANNEL)[1] == [1, 2, 3, 4, 5, 6]


def test_what_the_release_before_kept_ends_a_day_after_its_last_batch(
    redis_client: redis.Redis, history: History
) -> None:
    """Else an active reader would be kept twice for ever."""
    plant_as_before(redis_client, CHANNEL, ids=[1, 2], at=NOW_MS)
    record(history, [3], NOW_MS + 1)
    redis_client.expire(SEEN.of(READER), 1000)
    record(history, [4], NOW_MS + 2)

    assert redis_client.ttl(SEEN.of(READER)) <= 1000
    assert redis_client.ttl(HISTORY.of(READER, CHANNEL)) <= 24 * 3600
    redis_client.delete(SEEN.of(READER), HISTORY.of(READER, CHANNEL))
    record(history, [5], NOW_MS + 3)
    assert redis_client.dbsize() == 2


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x01", b"\xff" * 40, b"half", b"one bit"],
    ids=["empty", "short", "another format", "half", "one bit"],
)
def test_a_reader_whose_batches_were_damaged_starts_anew(
    redis_client: redis.Redis, history: History, damage: bytes
) -> None:
    """It is counted, the next batch is recorded under a later stamp, and all is well again."""
    newest_ms = record(history, [1, 2], NOW_MS)
    raw: Any = redis_client.hget(READER_KEY.of(READER), "shown")
    halves = {b"half": raw[: len(raw) // 2], b"one bit": raw[:-9] + b"\x80" + raw[-8:]}
    redis_client.hset(READER_KEY.of(READER), "shown", halves.get(damage, damage))
    counted = CORRUPT.labels("shown")._value.get()

    assert shown_to(history) == []
    assert CORRUPT.labels("shown")._value.get() == counted + (damage != b"")
    assert record(history, [1], newest_ms - 5) == newest_ms + 1
    assert shown_to(history) == [1]


def test_a_redis_that_lost_a_part_of_a_reader_keeps_stamps_increasing(
    redis_client: redis.Redis, history: History
) -> None:
    """The version can be evicted while the batches stay, and the other way round."""
    first = record(history, [1], NOW_MS)
    redis_client.delete(VERSION.of(READER))
    second = record(history, [2], NOW_MS - DAY_MS)
    redis_client.delete(READER_KEY.of(READER))
    third = record(history, [3], NOW_MS - DAY_MS)

    assert [first, second, third] == [NOW_MS, NOW_MS + 1, NOW_MS + 2]
    assert shown_to(history) == [3]


def test_the_largest_reader_fits_within_sixteen_kibibytes(redis_client: redis.Redis) -> None:
    """By the settings' defaults, with the largest ids: every part is full."""
    defaults = ReadingSettings()
    kept = defaults.history_batches, defaults.seen_articles
    history = make_history(redis_client, batches_kept=kept[0], seen_kept=kept[1])
    notes = ReaderNotes(TTL_S)
    for number in range(200):
        first = 2**62 + 10 * number
        record(history, [*range(first, first + 10)], NOW_MS + number)
    with redis_client.pipeline() as pipe:
        acts = [Acted(Action.CLICK, 2**62 + n, NOW_MS, NOW_MS + n) for n in range(500)]
        notes.note_acts(pipe, READER, acts)
        notes.note_exposures(pipe, READER, range(NOW_MS, NOW_MS + 500))
        for number in range(500):
            notes.hide(pipe, READER, Hideable(number % 3), 2**62 + number)
        pipe.execute()

    sizes = [redis_client.memory_usage(key, samples=0) or 0 for key in redis_client.scan_iter()]
    assert 8_000 < sum(sizes) < 16 * 1024
    assert history.read(READER).seen.size >= kept[1]
