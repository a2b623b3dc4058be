"""The log that reports go into: what waits is counted, what SQL has stays for ten minutes, and
whatever follows it misses nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import msgspec
import pytest
import redis
from sqlalchemy import Engine

from tests.integration.reading.test_undoing import CHANNEL, READER, STAMP_MS, Site
from tests.lab.histories import SOURCE, make_history, record_batch
from tests.lab.newsroom import NOW_MS, Clock
from tidings.reading import behaviour_log
from tidings.reading.acts import Action
from tidings.reading.behaviour import Report, fold
from tidings.reading.behaviour_log import (
    BEGINNING,
    DEAD_STREAM,
    GROUP,
    LOG,
    BacklogFullError,
    BehaviourLog,
    log_end,
    read_log,
)
from tidings.reading.events import Event, encode
from tidings.reading.noting import ACTS_KEPT
from tidings.store.keys import BEHAVIOUR, BEHAVIOUR_FLOORS, BEHAVIOUR_WAITING
from tidings.store.keys import READER as STATE


def click(article_id: int, reader_id: int = READER) -> Event:
    return Event(
        action=Action.CLICK,
        reader_id=reader_id,
        channel_id=CHANNEL,
        stamp_ms=STAMP_MS,
        article_id=article_id,
        position=0,
        at_ms=NOW_MS,
    )


@pytest.fixture
def log(redis_client: redis.Redis) -> BehaviourLog:
    return BehaviourLog(redis_client, backlog_limit=10)


@pytest.fixture
def site(engine: Engine, redis_client: redis.Redis) -> Site:
    site = Site(engine, redis_client, Clock())
    site.channels(CHANNEL)
    return site


def waiting(client: redis.Redis) -> int:
    return int(client.get(BEHAVIOUR_WAITING.of()) or 0)


def take(log: BehaviourLog, count: int = 10) -> list[behaviour_log.Entry]:
    return log.take("test", block_ms=None, count=count)


def test_what_is_appended_is_read_in_order_from_wherever_one_is(
    log: BehaviourLog, redis_client: redis.Redis
) -> None:
    """By any number of followers, whatever the fold has done meanwhile."""
    assert read_log(redis_client, BEGINNING, 10) == ([], BEGINNING)
    assert log_end(redis_client) == BEGINNING
    log.append([click(1), click(2)])
    first = read_log(redis_client, BEGINNING, 10)
    assert [event.article_id for event in first.events] == [1, 2]
    assert first.last_id == log_end(redis_client)
    log.acknowledge(take(log))
    log.append([click(3)])

    assert [event.article_id for event in read_log(redis_client, first.last_id, 10).events] == [3]
    assert [event.article_id for event in read_log(redis_client, BEGINNING, 10).events] == [1, 2, 3]
    assert len(read_log(redis_client, BEGINNING, 1).events) == 2, "one entry, whole"


def test_a_follower_that_waits_is_woken_by_the_next_entry(
    log: BehaviourLog, redis_client: redis.Redis
) -> None:
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(read_log, redis_client, BEGINNING, 10, 30_000)
        log.append([click(7)])

        assert [event.article_id for event in read.result(60).events] == [7]


def test_only_what_sql_does_not_have_counts_against_the_limit(
    log: BehaviourLog, redis_client: redis.Redis
) -> None:
    """Events, not entries; and the ten minutes that are kept after the fold count for nothing."""
    log.append([click(n) for n in range(6)])
    with pytest.raises(BacklogFullError):
        log.append([click(n) for n in range(5)])
    log.append([click(n) for n in range(4)])
    assert waiting(redis_client) == 10

    log.acknowledge(take(log, 1))
    assert waiting(redis_client) == 4
    log.acknowledge(take(log))
    assert waiting(redis_client) == 0
    assert len(read_log(redis_client, BEGINNING, 10).events) == 10
    log.append([click(n) for n in range(10)])


def test_an_entry_that_two_consumers_acknowledge_is_subtracted_once(
    log: BehaviourLog, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was only slow ends after its entry was taken over."""
    monkeypatch.setattr(behaviour_log, "CLAIM_AFTER_MS", 0)
    log.append([click(1), click(2)])
    log.append([click(3)])
    (slow,) = take(log, 1)
    (heir,) = log.take("heir", block_ms=None, count=1)
    assert heir.entry_id == slow.entry_id
    log.acknowledge([slow])
    log.acknowledge([heir])

    assert waiting(redis_client) == 1


@pytest.mark.parametrize("wrong", [0, 3, 10**9], ids=["lost", "drifted", "absurd"])
def test_a_wrong_count_is_set_right_once_nothing_waits(
    log: BehaviourLog, redis_client: redis.Redis, wrong: int
) -> None:
    """Whatever made it wrong: it ends with the backlog, and never goes below nothing."""
    log.append([click(1), click(2)])
    log.append([click(3)])
    redis_client.set(BEHAVIOUR_WAITING.of(), wrong)
    log.acknowledge(take(log, 1))
    assert waiting(redis_client) >= 0
    log.acknowledge(take(log, 1))

    assert waiting(redis_client) == 0


def test_the_log_forgets_what_sql_has_had_for_ten_minutes_and_nothing_else(
    log: BehaviourLog, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes are folds here, and three of them are kept: what was folded later stays, and so does
    what a consumer took and never finished, however old."""
    monkeypatch.setattr(behaviour_log, "FLOOR_EVERY_S", 1)
    monkeypatch.setattr(behaviour_log, "KEEP_S", 3)
    floors = BEHAVIOUR_FLOORS.of()

    def fold_a_minute_later(number: int) -> list[int]:
        log.append([click(number)])
        log.acknowledge(take(log))
        # The minute passes: the newest floor was set a minute ago.
        newest: bytes = redis_client.lindex(floors, -1)  # type: ignore[assignment]
        seconds, _, floor = newest.partition(b" ")
        redis_client.lset(floors, -1, b"%d %s" % (int(seconds) - 10, floor))  # type: ignore[arg-type]
        return [event.article_id for event in read_log(redis_client, BEGINNING, 100).events]

    kept = [fold_a_minute_later(number) for number in range(1, 8)]

    assert kept[3] == [2 - 1, 2, 3, 4]
    assert kept[6] == [4, 5, 6, 7]
    log.append([click(100)])
    (left_behind,) = take(log)
    for number in range(8, 20):
        fold_a_minute_later(number)
    found = [event.article_id for event in read_log(redis_client, BEGINNING, 100).events]
    assert found[0] == 100
    assert redis_client.xpending(LOG, GROUP)["pending"] == 1
    assert redis_client.llen(floors) == 3
    log.acknowledge([left_behind])


def test_an_event_of_a_newer_release_is_set_aside_without_its_neighbours(
    log: BehaviourLog, redis_client: redis.Redis
) -> None:
    """A report is one entry; one act that this program does not know must not take the rest of it
    along."""
    strange = [99, READER, CHANNEL, STAMP_MS, 5, 0, NOW_MS]
    (known,) = msgspec.msgpack.decode(encode([click(7)]))
    entry = msgspec.msgpack.encode([strange, known, strange])
    redis_client.xadd(LOG, {b"n": b"3", b"e": entry})

    (taken,) = take(log)
    assert [event.article_id for event in taken.events] == [7]
    assert redis_client.xlen(DEAD_STREAM) == 2
    assert [event.article_id for event in read_log(redis_client, BEGINNING, 10).events] == [7]


def test_fields_that_a_newer_release_adds_to_an_event_are_passed_over(
    redis_client: redis.Redis,
) -> None:
    """New fields come last, so that workers of both releases read one log."""
    fields: list[Any] = [None, 0, 0, 0, False, 0, 0, True, b"", b"", False, "new", 5]
    entry = msgspec.msgpack.encode([[1, READER, CHANNEL, STAMP_MS, 7, 0, NOW_MS, *fields]])
    redis_client.xadd(LOG, {b"n": b"1", b"e": entry})

    assert [event.article_id for event in read_log(redis_client, BEGINNING, 10).events] == [7]


def test_what_a_gateway_of_the_release_before_took_in_is_moved_to_the_log_and_counted_once(
    site: Site,
) -> None:
    """Its exposures find their batches, what cannot be read is set aside, and its stream is empty
    then."""
    ids = site.articles(3)
    record_batch(site.redis, READER, CHANNEL, ids=ids, now_ms=STAMP_MS)
    before = [
        [0, READER, CHANNEL, STAMP_MS, 0, 0, NOW_MS, None],
        [1, READER, CHANNEL, STAMP_MS, ids[0], 0, NOW_MS, None],
        [4, READER, CHANNEL, STAMP_MS, ids[0], 0, NOW_MS, 4000],
    ]
    for event in [*before, before[1]]:
        site.redis.xadd(BEHAVIOUR.of(), {b"e": msgspec.json.encode(event)})
    site.redis.xadd(BEHAVIOUR.of(), {b"e": b"[99]"})
    site.report(site.token(Action.CLICK, ids[0]))
    site.fold()

    assert [site.counts(article_id)["exposure"] for article_id in ids] == [1, 1, 1]
    assert (site.counts(ids[0])["click"], site.counts(ids[0])["reading"]) == (1, 1)
    (seen,) = site.exposures()
    assert bytes(seen.sources) == bytes([SOURCE] * 3)
    assert site.redis.xlen(BEHAVIOUR.of()) == 0
    assert site.redis.xlen(DEAD_STREAM) == 1
    assert waiting(site.redis) == 0
    followed = read_log(site.redis, BEGINNING, 100).events
    assert {event.action for event in followed} == {Action.EXPOSURE, Action.CLICK, Action.READING}


def test_two_daemons_move_the_stream_before_at_once_and_count_once(site: Site) -> None:
    """As a daemon that dies between the two steps does: what is moved twice counts once."""
    article_id = site.article()
    for reader_id in range(1, 201):
        event = [1, reader_id, CHANNEL, STAMP_MS, article_id, 0, NOW_MS, None]
        site.redis.xadd(BEHAVIOUR.of(), {b"e": msgspec.json.encode(event)})
    at_once = Barrier(2)

    def consume(name: str) -> None:
        at_once.wait(10)
        while fold(site.engine, site.redis, consumer=name):
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consume, "ab"))
    site.fold()

    assert site.counts(article_id)["click"] == 200


def test_very_many_events_of_one_reader_stay_within_bounds(site: Site) -> None:
    """Ten thousand clicks by one reader, in any order of time, some of them in the future and some
    before the batch: each counts once, and what is kept of the reader in Redis is bounded."""
    ids = site.articles(100)
    for number in range(100):
        tokens = [site.token(Action.CLICK, id_, STAMP_MS + number) for id_ in ids]
        wrong = [0, NOW_MS * 10, 1, NOW_MS - 5][number % 4]
        site.door.report([Report(token, at=wrong) for token in tokens])
        if number % 9 == 0:
            site.fold()
    site.fold()

    assert {site.counts(id_)["click"] for id_ in ids} == {100}
    assert (site.redis.memory_usage(STATE.of(READER)) or 0) <= 16 * 1024
    assert len(make_history(site.redis).read(READER).acts) <= ACTS_KEPT
