"""What readers report is acknowledged once it is durable, and counted once, though anything may
happen between the two."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event, current_thread
from typing import Any

import msgspec
import pymysql
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import OperationalError

from tests.conftest import MakeSettings
from tests.lab.histories import SOURCE, record_batch
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, Clock, Newsroom
from tests.lab.servers import spawn, start_redis, wait_until
from tidings.commands.embedded_redis import find_program, redis_command
from tidings.news.tables import article_count
from tidings.process.clock import moment
from tidings.process.site_folder import redis_socket
from tidings.reading import behaviour as behaviour_module
from tidings.reading import behaviour_log
from tidings.reading.acts import TRACKED, Action
from tidings.reading.behaviour import Behaviours, Report, Verdict, fold
from tidings.reading.behaviour_log import DEAD_STREAM, GROUP, LOG, BacklogFullError, read_log
from tidings.reading.events import MARKS, MAX_READ_MS, unpack_ids
from tidings.reading.noting import ReaderNotes
from tidings.reading.tables import behaviour, mark, reader
from tidings.reading.tracking import Shown, Tracker
from tidings.store.engine import transaction
from tidings.store.keys import BEHAVIOUR_WAITING
from tidings.store.redis import make_redis
from tidings.store.retry import CONTENTION, run_again

KEY, NEW_KEY = b"k" * 32, b"n" * 32
STAMP_MS = NOW_MS - HOUR_MS
READER, CHANNEL = 7, 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker() -> Tracker:
    return Tracker([KEY])


@pytest.fixture
def newsroom(engine: Engine, clock: Clock) -> Newsroom:
    room = Newsroom(engine, clock)
    room.channels(1, 2)
    return room


@pytest.fixture
def behaviours(redis_client: redis.Redis, tracker: Tracker, clock: Clock) -> Behaviours:
    return make_behaviours(redis_client, tracker, clock)


class LosesItsAnswer(redis.Redis):
    """A real client whose process dies between the commit in SQL and the acknowledgement in
    Redis."""

    def register_script(self, script: Any) -> Any:
        def die(**_: object) -> None:
            raise redis.ConnectionError("the process died here")

        return die if "XACK" in script else super().register_script(script)


def make_behaviours(
    client: redis.Redis, tracker: Tracker, clock: Clock, backlog_limit: int = 1000
) -> Behaviours:
    notes = ReaderNotes(ttl_s=3600)
    return Behaviours(client, tracker, notes, backlog_limit=backlog_limit, clock=clock)


def waiting(client: redis.Redis) -> int:
    """Events that SQL does not have yet, as the log counts them."""
    return int(client.get(BEHAVIOUR_WAITING.of()) or 0)


def issue(
    tracker: Tracker, action: Action, article_id: int = 0, position: int = 0, **changes: Any
) -> str:
    """A token as the recommender issues it."""
    shown = Shown(action, READER, CHANNEL, STAMP_MS, article_id, position)
    return tracker.issue(replace(shown, **changes), NOW_MS - HOUR_MS)


def fold_all(engine: Engine, client: redis.Redis, consumer: str = "test") -> int:
    """Fold until nothing waits, and return how many entries there were."""
    total = 0
    while done := fold(engine, client, consumer=consumer):
        total += done
    return total


def forget_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take over what other consumers left behind at once, instead of after 30 s."""
    monkeypatch.setattr(behaviour_log, "CLAIM_AFTER_MS", 0)


def test_each_report_gets_the_verdict_it_deserves(
    behaviours: Behaviours, tracker: Tracker, clock: Clock
) -> None:
    """One verdict a report, in their order: accepted, refused, expired; a bad one does not spoil
    its neighbours."""
    good = issue(tracker, Action.CLICK, 1)
    old = tracker.issue(Shown(Action.CLICK, READER, CHANNEL, STAMP_MS, 2), clock() - 31 * DAY_MS)
    reports = [
        Report(good),
        Report("forged"),
        Report(old),
        Report(""),
        Report(issue(tracker, Action.LIKING, 3)),
    ]

    expected = [
        Verdict.ACCEPTED,
        Verdict.REFUSED,
        Verdict.EXPIRED,
        Verdict.REFUSED,
        Verdict.ACCEPTED,
    ]
    assert expected == behaviours.report(reports)


def test_only_accepted_reports_wait_for_sql(
    behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """Refused and expired reports leave nothing behind, and a report of nothing but those touches
    no stream."""
    behaviours.report([Report("forged")])
    assert redis_client.exists(LOG) == 0

    behaviours.report([Report(issue(tracker, Action.CLICK, 1)), Report("forged")])
    assert [event.article_id for event in read_log(redis_client, b"0-0", 10).events] == [1]
    assert waiting(redis_client) == 1


def test_an_event_is_stored_with_all_that_its_token_names(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """Reader, article, channel, place, batch, moment and reading time arrive in SQL as they were
    shown and reported."""
    article_id = newsroom.article()
    token = issue(tracker, Action.READING, article_id, position=4)
    behaviours.report([Report(token, at=NOW_MS - 5000, read_ms=3210)])

    assert fold_all(newsroom.engine, redis_client) == 1
    (row,) = newsroom.behaviours()
    expected = (READER, article_id, CHANNEL, "reading", 4, STAMP_MS, 3210, moment(NOW_MS - 5000))
    assert expected == tuple(row)[2:10]
    assert newsroom.counts(article_id) == {
        "exposure": 0,
        "click": 0,
        "reading": 1,
        "collect": 0,
        "liking": 0,
        "dislike": 0,
    }


def test_nothing_to_fold_is_no_trouble(engine: Engine, redis_client: redis.Redis) -> None:
    """On a new site there is neither stream nor group, and folding makes both."""
    assert fold(engine, redis_client, consumer="test") == 0
    assert fold(engine, redis_client, consumer="test", block_ms=1) == 0


def test_fold_waits_for_the_next_event_when_told_to(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """A consumer that blocks is woken by a report, so an event reaches SQL at once and not at the
    next look."""
    article_id = newsroom.article()
    fold(newsroom.engine, redis_client, consumer="test")
    with ThreadPoolExecutor(1) as pool:
        folded = pool.submit(fold, newsroom.engine, redis_client, consumer="test", block_ms=4000)
        behaviours.report([Report(issue(tracker, Action.CLICK, article_id))])

        assert folded.result(10) == 1


def test_a_token_reported_twice_counts_once(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    clock: Clock,
) -> None:
    """In one request, in a later one, and before and after the fold: the reader clicked once."""
    article_id = newsroom.article()
    click = Report(issue(tracker, Action.CLICK, article_id))

    behaviours.report([click, click])
    behaviours.report([click])
    fold_all(newsroom.engine, redis_client)
    clock.advance(DAY_MS)
    assert behaviours.report([click]) == [Verdict.ACCEPTED]
    fold_all(newsroom.engine, redis_client)

    assert len(newsroom.behaviours()) == 1
    assert newsroom.counts(article_id)["click"] == 1


def test_a_token_issued_again_under_a_new_key_still_counts_once(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    clock: Clock,
) -> None:
    """Paging back gives fresh tokens, by then perhaps under another key; the click they name is the
    same one."""
    article_id = newsroom.article()
    behaviours.report([Report(issue(tracker, Action.CLICK, article_id, source=2))])
    rotated = Tracker([NEW_KEY, KEY])
    later = make_behaviours(redis_client, rotated, clock)
    clock.advance(HOUR_MS)
    later.report([Report(issue(rotated, Action.CLICK, article_id, source=0))])
    fold_all(newsroom.engine, redis_client)

    assert newsroom.counts(article_id)["click"] == 1


def test_an_exposure_stands_for_every_article_of_its_batch(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """One small token for a page: it is stored as one row, with the articles in their order and
    what had brought each; and each article counts as shown, once."""
    shown = newsroom.articles(3)
    record_batch(redis_client, READER, CHANNEL, ids=shown, now_ms=STAMP_MS)
    behaviours.report(
        [Report(issue(tracker, Action.EXPOSURE)), Report(issue(tracker, Action.EXPOSURE))]
    )
    fold_all(newsroom.engine, redis_client)
    behaviours.report([Report(issue(tracker, Action.EXPOSURE))])
    fold_all(newsroom.engine, redis_client)

    (row,) = newsroom.exposures()
    assert list(unpack_ids(row.article_ids)) == shown
    assert row.sources == bytes([SOURCE] * 3)
    assert (row.reader_id, row.channel_id, row.batch_stamp) == (READER, CHANNEL, STAMP_MS)
    assert newsroom.behaviours() == []
    assert [newsroom.counts(article_id)["exposure"] for article_id in shown] == [1, 1, 1]


def test_an_exposure_whose_batch_is_no_longer_kept_is_dropped(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """What was on that page is known no more; what was reported beside it is stored all the
    same."""
    article_id = newsroom.article()
    behaviours.report(
        [Report(issue(tracker, Action.EXPOSURE)), Report(issue(tracker, Action.CLICK, article_id))]
    )

    assert fold_all(newsroom.engine, redis_client) == 1
    assert [row.action for row in newsroom.behaviours()] == ["click"]


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


def test_a_full_backlog_takes_nothing_in_and_says_so(
    newsroom: Newsroom, tracker: Tracker, redis_client: redis.Redis, clock: Clock
) -> None:
    """Up to the limit and not one beyond: the caller is told to come back, and can once the fold
    has caught up."""
    behaviours = make_behaviours(redis_client, tracker, clock, backlog_limit=3)
    ids = newsroom.articles(5)
    reports = [Report(issue(tracker, Action.CLICK, article_id)) for article_id in ids]
    behaviours.report(reports[:2])

    with pytest.raises(BacklogFullError):
        behaviours.report(reports[2:4])
    assert waiting(redis_client) == 2
    behaviours.report(reports[2:3])
    fold_all(newsroom.engine, redis_client)
    behaviours.report(reports[2:])
    fold_all(newsroom.engine, redis_client)

    assert [newsroom.counts(article_id)["click"] for article_id in ids] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("claimed_ms", "believed_ms"),
    [
        (0, NOW_MS),
        (-(2**63), NOW_MS),
        (2**63 - 1, NOW_MS),
        (NOW_MS + 1, NOW_MS),
        (STAMP_MS - 1, NOW_MS),
        (STAMP_MS, STAMP_MS),
        (NOW_MS, NOW_MS),
    ],
    ids=[
        "never",
        "long before time",
        "at its end",
        "tomorrow",
        "before it was shown",
        "when shown",
        "now",
    ],
)
def test_a_readers_clock_is_believed_only_where_it_can_be_true(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    claimed_ms: int,
    believed_ms: int,
) -> None:
    """Nothing was done before it was shown, or after now; anything else a reader's clock claims
    counts as now."""
    behaviours.report([Report(issue(tracker, Action.CLICK, newsroom.article()), at=claimed_ms)])
    fold_all(newsroom.engine, redis_client)

    assert [moment(believed_ms)] == [row.at for row in newsroom.behaviours()]


@pytest.mark.parametrize(
    ("claimed_ms", "believed_ms"),
    [(-5, 0), (0, 0), (4000, 4000), (2**31 - 1, MAX_READ_MS), (None, None)],
)
def test_a_reading_time_is_kept_within_a_day(
    newsroom: Newsroom,
    behaviours: Behaviours,
    tracker: Tracker,
    redis_client: redis.Redis,
    claimed_ms: int | None,
    believed_ms: int | None,
) -> None:
    """A tab left open for a month, or a negative time, must not become a reader's favourite
    article."""
    behaviours.report(
        [Report(issue(tracker, Action.READING, newsroom.article()), read_ms=claimed_ms)]
    )
    fold_all(newsroom.engine, redis_client)

    assert [believed_ms] == [row.read_ms for row in newsroom.behaviours()]


def test_a_reader_is_known_from_the_first_act_to_the_last(
    newsroom: Newsroom, behaviours: Behaviours, tracker: Tracker, redis_client: redis.Redis
) -> None:
    """Events of one reader arrive in any order; first and last seen are the earliest and the latest
    of them."""
    ids = newsroom.articles(4)
    for wave in ((NOW_MS - 3000, NOW_MS - 2000), (NOW_MS - 4000, NOW_MS - 1000)):
        reports = [Report(issue(tracker, Action.CLICK, ids.pop()), at=at_ms) for at_ms in wave]
        behaviours.report(reports)
        fold_all(newsroom.engine, redis_client)
    with newsroom.engine.connect() as conn:
        rows = conn.execute(
            select(reader.c.id, reader.c.first_seen_at, reader.c.last_seen_at)
        ).all()

    assert [(READER, moment(NOW_MS - 4000), moment(NOW_MS - 1000))] == [tuple(row) for row in rows]


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
    store, is_holding, go_on = run_again, Event(), Event()

    def store_slowly(*args: Any, **options: Any) -> Any:
        if current_thread().name.startswith("slow"):
            is_holding.set()
            go_on.wait(10)
        return store(*args, **options)

    monkeypatch.setattr(behaviour_module, "run_again", store_slowly)
    with ThreadPoolExecutor(1, thread_name_prefix="slow") as pool:
        slow = pool.submit(fold, newsroom.engine, redis_client, consumer="slow")
        assert is_holding.wait(10)
        assert fold(newsroom.engine, redis_client, consumer="quick") == 3
        go_on.set()
        slow.result(10)

    assert [newsroom.counts(article_id)["click"] for article_id in ids] == [1, 1, 1]


def test_a_report_to_a_redis_that_is_away_fails_and_is_safe_to_repeat(
    newsroom: Newsroom, tracker: Tracker, make_settings: MakeSettings, clock: Clock
) -> None:
    """No acknowledgement without durability: the reporter is told, reports again, and is counted
    once."""
    article_id = newsroom.article()
    with start_redis("--appendonly", "yes") as server:
        client = make_redis(make_settings(redis_url=server.url).redis)
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
    settings = make_settings(redis_url=f"unix://{redis_socket(settings.site.var_dir)}")
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
        process.wait(10)

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
