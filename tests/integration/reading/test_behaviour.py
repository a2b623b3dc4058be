"""What readers report is acknowledged once it is durable, and counted once, though anything may
happen between the two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from sqlalchemy import Engine, select

from tests.integration.reading.reporting import (
    CHANNEL,
    KEY,
    NEW_KEY,
    READER,
    STAMP_MS,
    fold_all,
    issue,
    make_behaviours,
    waiting,
)
from tests.lab.histories import SOURCE, record_batch
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, Clock, Newsroom
from tidings.process.clock import moment
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours, Report, Verdict, fold
from tidings.reading.behaviour_log import LOG, BacklogFullError, read_log
from tidings.reading.events import MAX_READ_MS, unpack_ids
from tidings.reading.tables import reader
from tidings.reading.tracking import Shown, Tracker


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
        folded = pool.submit(fold, newsroom.engine, redis_client, consumer="test", block_ms=30_000)
        behaviours.report([Report(issue(tracker, Action.CLICK, article_id))])

        assert folded.result(60) == 1


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
