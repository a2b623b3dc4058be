"""The ladder, step by step: which page a reader gets when something behind the door does not
work."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from gateway.feed.ladder import RECOMMENDER_FAILURES, REST_S
from tests.lab.newsroom import HOUR_MS, MINUTE_MS, SECOND_MS
from tests.unit.gateway.doors import READER_ID, Door, make_response
from tidings.process.clock import moment
from tidings.process.deadline import DeadlineExceededError
from tidings.reading import popularity
from tidings.reading.acts import TRACKED, Action
from tidings.reading.tracking import LadderSource, Tracker
from tidings.rpc.errors import (
    CallerFaultError,
    ExpectedError,
    ServerFaultError,
    TransportFaultError,
)
from tidings.store.keys import HISTORY, READER, VERSION
from tidings_idl.recommend.ttypes import ArticleResponse, Reason, UserRequest

GONE = TransportFaultError("connection refused", sent=False)


def ids_of(feed: Any) -> list[int]:
    return [card["article_id"] for card in feed["results"]]


def fetch(door: Door, query: str = "", served_from: str = "personal") -> Any:
    """The feed of channel 1, after checking who served it."""
    answer = door.get(f"/articles?channel_id=1&{query}")
    assert answer.status_code == 200, answer.text
    assert answer.json["served_from"] == served_from
    return answer.json


def test_a_personal_page_is_the_recommenders_in_its_order_with_its_tokens(door: Door) -> None:
    ids = door.newsroom.articles(3)[::-1]
    door.recommends(ids, before_ms=12345)

    feed = fetch(door, "article_num=3&time_stamp=0")

    assert ids_of(feed) == ids
    assert feed["pre_timestamp"] == 12345
    assert door.tracker.read(feed["exposure"], door.clock()).action is Action.EXPOSURE
    request = door.recommender.requests[0]
    assert (request.user_id, request.channel_id, request.article_num, request.time_stamp) == (
        READER_ID,
        1,
        3,
        0,
    )
    card = feed["results"][0]
    assert set(card) == {
        "article_id",
        "title",
        "summary",
        "author",
        "channel_id",
        "cover",
        "language",
        "published_at",
        "counts",
        "track",
    }
    actions = {
        name: door.tracker.read(token, door.clock()).action for name, token in card["track"].items()
    }
    assert actions == {
        "click": Action.CLICK,
        "collect": Action.COLLECT,
        "read": Action.READING,
        "liking": Action.LIKING,
        "dislike": Action.DISLIKE,
    }


def test_what_was_taken_down_since_it_was_chosen_is_left_out(door: Door) -> None:
    ids = door.newsroom.articles(3)
    door.newsroom.change(ids[1], status="taken_down")
    door.recommends(ids)

    assert ids_of(fetch(door)) == [ids[0], ids[2]]


def test_an_empty_page_of_history_is_an_answer(door: Door) -> None:
    door.newsroom.articles(3)
    door.recommends([])

    feed = fetch(door, f"time_stamp={door.clock() - HOUR_MS - 1}")

    assert (feed["results"], feed["pre_timestamp"]) == ([], 0)


def test_an_empty_fresh_page_is_none_while_there_are_articles(door: Door) -> None:
    ids = door.newsroom.articles(3)
    door.recommends([])

    assert ids_of(fetch(door, served_from="latest")) == ids


def test_an_empty_channel_is_an_empty_page(door: Door) -> None:
    door.recommends([])

    assert fetch(door)["results"] == []


@pytest.mark.parametrize(
    "failure",
    [
        GONE,
        TransportFaultError("broken pipe", sent=True),
        ServerFaultError("no", code=500),
        ServerFaultError("too busy", code=503, retryable=True),
        ExpectedError("no such channel yet", code=404),
        DeadlineExceededError("too late"),
        ValueError("something nobody thought of"),
    ],
    ids=repr,
)
def test_whatever_the_recommender_does_the_reader_gets_a_page(
    door: Door, failure: Exception
) -> None:
    ids = door.newsroom.articles(3)
    door.recommender.fails_with(failure)

    assert ids_of(fetch(door, served_from="latest")) == ids


def test_what_the_recommender_refuses_as_such_is_the_callers_problem(door: Door) -> None:
    door.recommender.fails_with(
        CallerFaultError("not valid", code=422, details={"time_stamp": "is before the flood"})
    )

    answer = door.get("/articles?channel_id=1")

    assert answer.status_code == 422
    assert answer.json["errors"] == {"time_stamp": "is before the flood"}


def test_the_last_batch_is_shown_again_while_it_was_not_read(door: Door) -> None:
    door.recommends(door.newsroom.articles(3), before_ms=12345)
    personal = fetch(door)
    door.clock.advance(HOUR_MS)
    door.recommender.fails_with(GONE)

    cached = fetch(door, served_from="cached")

    assert ids_of(cached) == ids_of(personal)
    assert cached["pre_timestamp"] == 12345
    # The same places in the same batch, so what is reported of either page counts once.
    before, after = (
        [
            door.tracker.read(token, door.clock()).event_id
            for token in (feed["exposure"], *feed["results"][2]["track"].values())
        ]
        for feed in (personal, cached)
    )
    assert len(set(after)) == 1 + len(TRACKED)
    assert after == before


def test_the_last_batch_is_cut_to_what_was_asked_for(door: Door) -> None:
    ids = door.newsroom.articles(5)
    door.recommends(ids)
    fetch(door)
    door.recommender.fails_with(GONE)

    assert ids_of(fetch(door, "article_num=2", served_from="cached")) == ids[:2]


def test_a_batch_that_was_read_is_not_shown_again_but_can_be_paged_back_to(door: Door) -> None:
    ids = door.newsroom.articles(3)
    door.recommends(ids)
    stamp_ms = door.clock()
    exposure = fetch(door)["exposure"]
    door.clock.advance(5 * SECOND_MS)
    assert door.report([{"track": exposure}]).status_code == 202
    door.recommender.fails_with(GONE)

    assert fetch(door, served_from="latest")["pre_timestamp"] == stamp_ms


def test_reading_an_older_batch_does_not_forget_the_newer_one(door: Door) -> None:
    ids = door.newsroom.articles(6)
    door.recommends(ids[:3])
    older = fetch(door)["exposure"]
    door.clock.advance(MINUTE_MS)
    door.recommends(ids[3:])
    fetch(door)

    door.report([{"track": older}])
    door.recommender.fails_with(GONE)

    assert ids_of(fetch(door, served_from="cached")) == ids[3:]


def test_each_channel_has_its_own_last_batch(door: Door) -> None:
    ids = door.newsroom.articles(3)
    door.recommends(ids)
    fetch(door)
    door.recommender.fails_with(GONE)

    assert door.get("/articles?channel_id=2").json["results"] == []


def test_paging_back_without_the_recommender_asks_to_ask_again(door: Door) -> None:
    """Only the recommender knows what was shown; another page in its place must not move the
    reader's bookmark."""
    ids = door.newsroom.articles(3)
    door.recommends(ids)
    stamp_ms = door.clock()
    fetch(door)
    door.clock.advance(10 * MINUTE_MS)
    door.recommender.fails_with(GONE)

    for back_to in (stamp_ms, door.clock() - HOUR_MS - 1):
        page = fetch(door, f"time_stamp={back_to}", served_from="latest")
        assert page["pre_timestamp"] == back_to


def test_a_clock_a_little_behind_gets_the_page_that_now_gets(door: Door) -> None:
    """Only the stamp of a batch pages back within the hour: the unread batch is shown again."""
    ids = door.newsroom.articles(3)
    door.recommends(ids)
    fetch(door)
    door.clock.advance(10 * MINUTE_MS)
    door.recommender.fails_with(GONE)
    behind_ms = door.clock() - 11 * MINUTE_MS

    assert ids_of(fetch(door, f"time_stamp={behind_ms}", served_from="cached")) == ids


def test_a_card_says_why_it_is_there_where_that_is_known(door: Door) -> None:
    """The recommender's words, and on the lower rungs the rung's own."""
    ids = door.newsroom.articles(2)

    def answer(request: UserRequest) -> ArticleResponse:
        now_ms = door.clock()
        page = make_response(door.tracker, request, ids, stamp_ms=now_ms, now_ms=now_ms)
        page.recommends[0].reason = Reason("read", 12)
        return page

    door.recommender.answer = answer
    read, unknown = fetch(door)["results"]
    assert read["reason"] == {"kind": "read", "article_id": 12}
    assert "reason" not in unknown

    door.recommender.fails_with(GONE)
    for card in fetch(door, served_from="latest")["results"]:
        assert card["reason"] == {"kind": "fresh", "article_id": 0}


def test_the_recommender_is_told_how_the_reader_came(door: Door) -> None:
    door.recommends(door.newsroom.articles(3))

    door.client.simulate_get(
        "/articles",
        headers={
            "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)",
            "Referer": "https://www.google.co.uk/",
        },
    )
    door.get("/articles")

    with_headers, without = (request.context for request in door.recommender.requests)
    assert (with_headers.device, with_headers.referrer) == ("mobile", "search")
    assert (without.device, without.referrer) == ("other", ""), "Falcon's own test client"


def test_neighbours_are_cards_in_the_recommenders_order(door: Door) -> None:
    ids = door.newsroom.articles(4)
    door.newsroom.change(ids[2], status="taken_down")
    door.recommender.near = [ids[3], ids[2], ids[1]]

    answer = door.get(f"/articles/{ids[0]}/similar?article_num=3")

    assert answer.status_code == 200
    assert ids_of(answer.json) == [ids[3], ids[1]]
    assert answer.json["next"] is None
    assert (door.recommender.asked_near) == [(ids[0], 3)]
    assert "track" not in answer.json["results"][0]


@pytest.mark.parametrize("failure", [GONE, DeadlineExceededError("too late")], ids=repr)
def test_neighbours_are_none_while_the_recommender_is_away(door: Door, failure: Exception) -> None:
    """Absent, and no error: a page is a page without them."""
    (article_id,) = door.newsroom.articles(1)
    door.recommender.fails_with(failure)

    answer = door.get(f"/articles/{article_id}/similar")

    assert (answer.status_code, answer.json) == (200, {"results": [], "next": None})
    assert door.get("/articles/999/similar").status_code == 404
    assert door.get(f"/articles/{article_id}/similar?article_num=101").status_code == 422


def test_the_ranking_is_served_in_its_order_without_what_was_taken_down(
    door: Door, redis_client: Redis
) -> None:
    ids = door.newsroom.articles(12)
    popularity.rebuild(door.newsroom.engine, redis_client, moment(door.clock()))
    door.newsroom.change(ids[0], status="taken_down")
    door.recommender.fails_with(GONE)

    feed = fetch(door, served_from="popular")

    assert ids_of(feed) == ids[1:11]
    assert feed["exposure"] == ""
    shown = door.tracker.read(feed["results"][0]["track"]["liking"], door.clock())
    assert (shown.action, shown.article_id, shown.reader_id, shown.channel_id) == (
        Action.LIKING,
        ids[1],
        READER_ID,
        1,
    )
    assert (shown.source, shown.stamp_ms) == (LadderSource.POPULAR, door.clock())


def test_the_newest_are_served_with_tokens_that_count(door: Door) -> None:
    door.newsroom.articles(3)
    door.recommender.fails_with(GONE)

    feed = fetch(door, served_from="latest")

    events = [{"track": card["track"]["click"]} for card in feed["results"]]
    assert [result["verdict"] for result in door.report(events).json["results"]] == ["accepted"] * 3


def test_a_recommender_that_keeps_failing_is_asked_once_a_second(door: Door) -> None:
    """Frozen, it would cost every reader the whole time-out before each page."""
    door.newsroom.articles(3)
    door.recommender.fails_with(DeadlineExceededError("no answer"))

    begun_s = time.monotonic()
    for _ in range(RECOMMENDER_FAILURES + 20):
        fetch(door, served_from="latest")
    took_s = time.monotonic() - begun_s

    tries = len(door.recommender.requests) - RECOMMENDER_FAILURES
    assert 0 <= tries <= took_s / REST_S


def test_one_that_answers_with_errors_is_asked_every_time(door: Door) -> None:
    door.newsroom.articles(3)
    door.recommender.fails_with(ServerFaultError("no", code=500))

    for _ in range(10):
        fetch(door, served_from="latest")

    assert len(door.recommender.requests) == 10


def test_a_batch_under_keys_of_another_site_is_served_and_shown_again_under_ours(
    door: Door,
) -> None:
    ids = door.newsroom.articles(3)
    foreign = Tracker([b"f" * 32])

    def answer(request: UserRequest) -> ArticleResponse:
        door.record(request, ids)
        return make_response(foreign, request, ids, stamp_ms=1, now_ms=door.clock())

    door.recommender.answer = answer

    assert ids_of(fetch(door)) == ids
    door.recommender.fails_with(GONE)
    cached = fetch(door, served_from="cached")
    assert door.tracker.read(cached["exposure"], door.clock()).stamp_ms == door.clock()


def test_no_batch_is_kept_twice_and_what_was_read_is_noted_in_the_readers_state(
    door: Door, redis_client: Redis
) -> None:
    door.recommends(door.newsroom.articles(10))
    exposure = fetch(door)["exposure"]

    door.report([{"track": exposure}])

    kept = set(redis_client.scan_iter(f"*{READER_ID}*"))
    assert kept == {key.encode() for key in (VERSION.of(READER_ID), READER.of(READER_ID))}


def test_a_batch_of_the_day_before_is_no_news(door: Door) -> None:
    ids = door.newsroom.articles(3)
    door.recommends(ids)
    stamp_ms = door.clock()
    fetch(door)
    door.recommender.fails_with(GONE)
    door.clock.advance(24 * HOUR_MS - 1)
    assert ids_of(fetch(door, served_from="cached")) == ids

    door.clock.advance(1)

    assert fetch(door, served_from="latest")["pre_timestamp"] == stamp_ms


def test_what_an_older_gateway_keeps_of_a_batch_is_left_alone(
    door: Door, redis_client: Redis
) -> None:
    """During an upgrade both share one Redis; the other's copy has its own end."""
    older = f"t1:{{{READER_ID}}}:feed:1"
    redis_client.set(older, b"123:\x93\xa1e\x00\x90", ex=24 * 3600)
    door.recommends(door.newsroom.articles(3))
    door.report([{"track": fetch(door)["exposure"]}])

    assert redis_client.get(older) == b"123:\x93\xa1e\x00\x90"


def test_a_recorded_batch_that_cannot_be_read_is_passed_over(
    door: Door, redis_client: Redis
) -> None:
    ids = door.newsroom.articles(3)
    redis_client.hset(READER.of(READER_ID), "shown", b"\xc1 of another version")
    redis_client.zadd(HISTORY.of(READER_ID, 1), {b"5:\xc1 of another version": 5})
    door.recommender.fails_with(GONE)

    feed = fetch(door, served_from="latest")

    assert (ids_of(feed), feed["pre_timestamp"]) == (ids, 0)
