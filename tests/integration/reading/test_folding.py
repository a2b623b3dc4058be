"""Though processes die on the way, each reported event is in SQL exactly once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, current_thread
from typing import Any

import msgspec
import pymysql
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from tests.conftest import MakeSettings
from tests.integration.reading.reporting import (
    CHANNEL,
    READER,
    STAMP_MS,
    LosesItsAnswer,
    fold_all,
    forget_the_wait,
    issue,
    make_behaviours,
    waiting,
)
from tests.lab.histories import record_batch
from tests.lab.newsroom import NOW_MS, Clock, Newsroom
from tests.lab.servers import spawn, start_redis, wait_until
from tests.lab.sites import PATIENT
from tidings.commands.embedded_redis import find_program, redis_command
from tidings.news.tables import article_count
from tidings.process.site_folder import redis_socket
from tidings.reading import behaviour as behaviour_module
from tidings.reading.acts import TRACKED, Action
from tidings.reading.behaviour import Behaviours, Report, fold
from tidings.reading.behaviour_log import DEAD_STREAM, GROUP, LOG
from tidings.reading.events import MARKS
from tidings.reading.tables import behaviour, mark
from tidings.reading.tracking import Tracker
from tidings.store.engine import transaction
from tidings.store.redis import make_redis
from tidings.store.retry import CONTENTION
from tidings.store.transacting import transact


def test_a_crash_between_commit_and_acknowledgement_stores_once(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows are in SQL and the stream does not know it: another consumer takes the entries and
    stores nothing."""
    forget_the_wait(monkeypatch)
    article_id = newsroom.article()
    behaviours.report(
        [Report(issue(tracker, action, article_id)) for action in (Action.CLICK, Action.LIKING)]
    )
    dying = LosesItsAnswer(connection_pool=redis_client.connection_pool)
    with pytest.raises(redis.ConnectionError, match="died here"):
        fold(newsroom.engine, dying, consumer="dying")
    assert len(newsroom.behaviours()) == 2

    assert fold_all(newsroom.engine, redis_client, "heir") == 2
    assert len(newsroom.behaviours()) == 2
    expected = {"exposure": 0, "click": 1, "reading": 0, "collect": 0, "liking": 1, "dislike": 0}
    assert expected == newsroom.counts(article_id)
    assert waiting(redis_client) == 0


def test_what_a_dead_consumer_took_is_taken_over(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries read and never acknowledged belong to a consumer that died; they wait for a while,
    then move."""
    article_id = newsroom.article()
    fold(newsroom.engine, redis_client, consumer="dead")
    behaviours.report([Report(issue(tracker, Action.CLICK, article_id))])
    redis_client.xreadgroup(GROUP, "dead", {LOG: ">"})

    assert fold(newsroom.engine, redis_client, consumer="heir") == 0  # it may still be at work
    forget_the_wait(monkeypatch)
    assert fold(newsroom.engine, redis_client, consumer="heir") == 1
    assert newsroom.counts(article_id)["click"] == 1
    assert redis_client.xpending(LOG, GROUP)["pending"] == 0


def test_a_database_that_is_away_loses_nothing(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fold fails and says so; the events stay in the stream, and are stored once the database
    is back."""
    forget_the_wait(monkeypatch)
    article_id = newsroom.article()
    behaviours.report([Report(issue(tracker, Action.CLICK, article_id))])
    attempts = []

    def fail(*_: object) -> int:
        attempts.append(1)
        raise OperationalError("INSERT", {}, pymysql.OperationalError(2006, "gone away"))

    with monkeypatch.context() as patch:
        patch.setattr(behaviour_module, "store_events", fail)
        with pytest.raises(OperationalError):
            fold(newsroom.engine, redis_client, consumer="test")

    assert len(attempts) == CONTENTION.attempts
    assert waiting(redis_client) == 1
    assert fold(newsroom.engine, redis_client, consumer="test") == 1
    assert newsroom.counts(article_id)["click"] == 1


def written(event: Any) -> dict[bytes, bytes]:
    """An entry of this one event, whatever it is."""
    return {b"n": b"1", b"e": msgspec.msgpack.encode([event])}


@pytest.mark.parametrize(
    "fields",
    [
        {b"n": b"1", b"e": b"not msgpack"},
        {b"n": b"2", b"e": b"\xc1"},
        written([1, 2]),
        written({"action": 1}),
        written(["1", 1, 1, 1, 1, 1, 1, None]),
        written([99, READER, CHANNEL, STAMP_MS, 1, 0, NOW_MS, None]),
        written([1, READER, CHANNEL, STAMP_MS, 1, 0, 10**18, None]),
        written([1, 2**63, CHANNEL, STAMP_MS, 1, 0, NOW_MS, None]),
        written([1, READER, CHANNEL, STAMP_MS, 1, 300, NOW_MS, None]),
        {b"something": b"else"},
    ],
    ids=[
        "garbage",
        "no msgpack",
        "short",
        "object",
        "wrong type",
        "unknown action",
        "far future",
        "huge id",
        "no such place",
        "alien",
    ],
)
def test_an_undecodable_entry_is_set_aside_and_blocks_nobody(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    fields: dict[Any, Any],
) -> None:
    """An entry that no version of this program wrote is kept for people to look at; those around it
    are stored."""
    first, second = newsroom.articles(2)
    behaviours.report([Report(issue(tracker, Action.CLICK, first))])
    redis_client.xadd(LOG, fields)
    behaviours.report([Report(issue(tracker, Action.CLICK, second))])

    assert fold_all(newsroom.engine, redis_client) >= 3
    assert {first, second} == {row.article_id for row in newsroom.behaviours()}
    assert [fields] == [entry for _, entry in redis_client.xrange(DEAD_STREAM) or []]
    assert waiting(redis_client) == 0


def test_an_event_about_an_article_that_is_gone_is_dropped(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """An article may be deleted between the click and the fold; its neighbours are counted, nothing
    is left over."""
    kept, gone = newsroom.articles(2)
    behaviours.report(
        [Report(issue(tracker, Action.CLICK, article_id)) for article_id in (kept, gone, 10**12)]
    )
    newsroom.remove(gone)

    assert fold_all(newsroom.engine, redis_client) == 3
    assert [kept] == [row.article_id for row in newsroom.behaviours()]
    assert waiting(redis_client) == 0


def test_two_consumers_at_once_store_each_event_once(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """Four consumers share a stream full of repeated events for the same few articles: nothing is
    lost or doubled."""
    ids = newsroom.articles(5)
    for repetition in range(4):
        for article_id in ids:
            reports = [
                Report(issue(tracker, Action.CLICK, article_id, reader_id=reader_id))
                for reader_id in range(1, 11)
            ]
            behaviours.report(reports if repetition % 2 else reports[::-1])
    at_once = Barrier(4)

    def consume(name: str) -> int:
        at_once.wait(10)
        total = 0
        while done := fold(newsroom.engine, redis_client, consumer=name, max_entries=7):
            total += done
        return total

    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(consume, "abcd"))

    assert sum(totals) == 200
    assert [newsroom.counts(article_id)["click"] for article_id in ids] == [10] * 5
    assert len(newsroom.behaviours()) == 50
    assert waiting(redis_client) == 0


def test_two_consumers_that_hold_the_same_entries_store_them_once(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer that was only slow commits after its entries were taken over: the database lets
    one of them win."""
    forget_the_wait(monkeypatch)
    ids = newsroom.articles(3)
    behaviours.report([Report(issue(tracker, Action.CLICK, article_id)) for article_id in ids])
    store, is_holding, go_on = transact, Event(), Event()

    def store_slowly(*args: Any, **options: Any) -> Any:
        if current_thread().name.startswith("slow"):
            is_holding.set()
            go_on.wait(60)
        return store(*args, **options)

    monkeypatch.setattr(behaviour_module, "transact", store_slowly)
    with ThreadPoolExecutor(1, thread_name_prefix="slow") as pool:
        slow = pool.submit(fold, newsroom.engine, redis_client, consumer="slow")
        assert is_holding.wait(60)
        assert fold(newsroom.engine, redis_client, consumer="quick") == 3
        go_on.set()
        slow.result(60)

    assert [newsroom.counts(article_id)["click"] for article_id in ids] == [1, 1, 1]


def test_a_report_to_a_redis_that_is_away_fails_and_is_safe_to_repeat(
    newsroom: Newsroom, tracker: Tracker, make_settings: MakeSettings, clock: Clock
) -> None:
    """No acknowledgement without durability: the reporter is told, reports again, and is counted
    once."""
    article_id = newsroom.article()
    with start_redis("--appendonly", "yes") as server:
        client = make_redis(make_settings(redis_url=server.url, **PATIENT).redis)
        behaviours = make_behaviours(client, tracker, clock)
        click = Report(issue(tracker, Action.CLICK, article_id))
        behaviours.report([click])
        server.kill()
        with pytest.raises(redis.RedisError):
            behaviours.report([click])
        server.restart()
        behaviours.report([click])
        fold_all(newsroom.engine, client)
        client.close()

    assert newsroom.counts(article_id)["click"] == 1


def test_the_embedded_redis_does_all_of_it_too(
    newsroom: Newsroom,
    tracker: Tracker,
    make_settings: MakeSettings,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Redis in the wheel is older than the system's: groups, claims and scripts work there as
    well."""
    forget_the_wait(monkeypatch)
    shown = newsroom.articles(2)
    settings = make_settings()
    address = f"unix://{redis_socket(settings.site.var_dir)}"
    settings = make_settings(redis_url=address, **PATIENT)
    (settings.site.var_dir / "redis").mkdir(parents=True)
    process = spawn(redis_command(find_program(settings), settings))
    client = make_redis(settings.redis)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        wait_until(answers, 10, "the embedded Redis")
        record_batch(client, READER, CHANNEL, ids=shown, now_ms=STAMP_MS)
        behaviours = make_behaviours(client, tracker, clock)
        behaviours.report(
            [
                Report(issue(tracker, Action.EXPOSURE)),
                Report(issue(tracker, Action.CLICK, shown[0])),
            ]
        )
        with pytest.raises(redis.ConnectionError, match="died here"):
            fold(
                newsroom.engine,
                LosesItsAnswer(connection_pool=client.connection_pool),
                consumer="dying",
            )
        assert fold_all(newsroom.engine, client, "heir") == 2
    finally:
        client.close()
        process.terminate()
        process.wait(60)

    assert [newsroom.counts(article_id)["exposure"] for article_id in shown] == [1, 1]
    assert newsroom.counts(shown[0])["click"] == 1


@st.composite
def reports_of_readers(draw: st.DrawFn) -> list[list[tuple[int, int, Action, int]]]:
    """Waves of (reader, article's place in the list, action, position), with repetitions."""
    act = st.tuples(
        st.integers(1, 3),
        st.integers(0, 3),
        st.sampled_from(TRACKED),
        st.integers(0, 2),
    )
    return draw(st.lists(st.lists(act, min_size=1, max_size=12), min_size=1, max_size=4))


@given(
    waves=reports_of_readers(),
    max_entries=st.integers(1, 9),
    dies=st.lists(st.booleans(), max_size=6),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_what_was_reported_after_any_folds(
    newsroom: Newsroom,
    tracker: Tracker,
    redis_client: redis.Redis,
    clock: Clock,
    waves: list[list[tuple[int, int, Action, int]]],
    max_entries: int,
    dies: list[bool],
) -> None:
    """Any reports, folded in portions of any size by consumers that die now and then, count each
    event exactly once."""
    redis_client.flushall()
    with transaction(newsroom.engine) as conn:
        conn.execute(delete(behaviour))
        conn.execute(delete(mark))
        conn.execute(delete(article_count))
    ids = newsroom.articles(4)
    behaviours = make_behaviours(redis_client, tracker, clock)
    dying = LosesItsAnswer(connection_pool=redis_client.connection_pool)
    deaths = iter(dies)
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_the_wait(monkeypatch)
        for wave in waves:
            behaviours.report(
                [
                    Report(issue(tracker, action, ids[place], position, reader_id=reader_id))
                    for reader_id, place, action, position in wave
                ]
            )
            if next(deaths, False):
                with pytest.raises(redis.ConnectionError):
                    fold(newsroom.engine, dying, consumer="dying", max_entries=max_entries)
        while fold(newsroom.engine, redis_client, consumer="test", max_entries=max_entries):
            pass

    events = {act for wave in waves for act in wave}
    # A mark is one a reader and article, in whatever places it was reported.
    counting = {
        (reader_id, place, action, 0 if action in MARKS else position)
        for reader_id, place, action, position in events
    }
    expected = Counter((ids[place], action.name.lower()) for _, place, action, _ in counting)
    counted = Counter(
        {
            (article_id, name): n
            for article_id in ids
            for name, n in newsroom.counts(article_id).items()
            if n
        }
    )
    assert expected == counted
    assert len(events) == len(newsroom.behaviours())
