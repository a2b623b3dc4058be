"""What a reader leaves who may never come back: minutes of state, and nothing in what others are
shown; and that a second visit makes them a reader like all others."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from falcon import testing
from redis import Redis
from sqlalchemy import Engine, func, select

from services.recommender.exposures import Exposures
from services.recommender.following_exposures import ExposureFollower
from services.recommender.signals.folding import Signals
from services.recommender.tailing import Tail
from tests.conftest import MakeSettings
from tests.integration.gateway.whole import Whole, open_whole
from tests.integration.recommender.serving import READER
from tests.lab.newsroom import HOUR_MS
from tidings import client
from tidings.client import TidingsClient
from tidings.process.clock import moment
from tidings.reading import popularity
from tidings.reading.acts import Action
from tidings.reading.behaviour import fold
from tidings.reading.behaviour_log import BEGINNING, read_log
from tidings.reading.events import Event, decode, encode
from tidings.reading.stored import clicks_since, exposures_since
from tidings.reading.tables import act_tally, shown_tally
from tidings.reading.tracking import MAC_BYTES, Shown, Tracker
from tidings.store.keys import FIRST_VISIT_S, POPULAR, VERSION
from tidings.store.keys import READER as READER_KEY

HERE = "192.0.2.1"
DAYS_S = 30 * 24 * 3600
HOUR_S = 3600  # as the gateway of these tests keeps what is reported


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def whole(
    make_settings: MakeSettings,
    engine: Engine,
    redis_client: Redis,
    redis_url: str,
    database_url: str,
) -> Iterator[Whole]:
    settings = make_settings(database_url=database_url, redis_url=redis_url)
    with open_whole(settings, engine, redis_client) as whole:
        whole.door.newsroom.channels(1, 2)
        whole.door.newsroom.articles(30)
        whole.recommender.catalogue.refresh()
        yield whole


class Visitor:
    """A browser: the id that it was given comes along with its next request."""

    def __init__(self, whole: Whole) -> None:
        self._client = whole.door.client
        self.signed = ""

    @property
    def reader_id(self) -> int:
        return int(self.signed.partition(".")[0])

    def send(self, method: str, path: str, **options: Any) -> testing.Result:
        headers = {"X-Reader": self.signed} if self.signed else {}
        answer = self._client.simulate_request(
            method, path, headers=headers, remote_addr=HERE, **options
        )
        self.signed = answer.headers.get("X-Reader", self.signed)
        return answer

    def feed(self) -> Any:
        answer = self.send("GET", "/articles")
        assert answer.json["served_from"] == "personal"
        return answer.json


def report(whole: Whole, *tokens: str, **more: Any) -> None:
    answer = whole.door.report([{"track": token, **more} for token in tokens])
    assert [one["verdict"] for one in answer.json["results"]] == ["accepted"] * len(tokens)


def report_all(whole: Whole, feed: Any) -> None:
    """The batch was seen, and its first article clicked, read, liked and saved."""
    track = feed["results"][0]["track"]
    report(whole, feed["exposure"], *(track[name] for name in ("click", "read", "liking")))


def ttls(redis: Redis, reader_id: int) -> set[int]:
    """How many seconds each key of a reader was given."""
    return {given_s(redis, key) for key in redis.scan_iter(f"*{reader_id}*")}


def given_s(redis: Redis, key: bytes) -> int:
    """The end that a key was given less than a minute ago; what it has left where it is none of
    those that there are."""
    left_s = int(str(redis.ttl(key)))
    ends = (FIRST_VISIT_S, HOUR_S, DAYS_S)
    return next((end for end in ends if end - 60 < left_s <= end), left_s)


def ranked_by(whole: Whole, redis: Redis) -> dict[str, float]:
    """All that rankings are made of, as it is once the log is folded."""
    engine, clock = whole.door.newsroom.engine, whole.door.clock
    while fold(engine, redis, consumer="test"):
        pass
    popularity.rebuild(engine, redis, moment(clock()))
    signals, exposures = Signals(sessions=64), Exposures()
    Tail(redis, engine, signals, clock).catch_up(clock() - HOUR_MS)
    before = exposures.expected().copy()
    ExposureFollower(engine, exposures, clock).look()
    scores: Any = redis.zrange(POPULAR.of(0), 0, -1, withscores=True)
    with engine.connect() as conn:
        acts = conn.scalar(select(func.coalesce(func.sum(act_tally.c.acts), 0)))
        shown = conn.scalar(select(func.coalesce(func.sum(shown_tally.c.acts), 0)))
        clicks = sum(map(len, clicks_since(conn, moment(0))))
        batches = sum(map(len, exposures_since(conn, moment(0))))
    return {
        "tallied acts": float(acts or 0),
        "tallied showings": float(shown or 0),
        "clicks to learn from": clicks,
        "batches to learn from": batches,
        "articles with signals": len(signals),
        "places with other rates": float((exposures.expected() != before).sum()),
        "articles with a score": sum(score > 0.5 for _, score in scores),
    }


def test_a_first_visit_leaves_minutes_of_state_and_the_second_one_makes_a_reader(
    whole: Whole, redis_client: Redis
) -> None:
    visitor = Visitor(whole)
    feed = visitor.feed()
    first = ttls(redis_client, visitor.reader_id)
    report_all(whole, feed)
    reported = ttls(redis_client, visitor.reader_id)

    again = visitor.feed()

    assert first == reported == {FIRST_VISIT_S}
    assert ttls(redis_client, visitor.reader_id) == {DAYS_S}
    seen, fresh = ({card["article_id"] for card in one["results"]} for one in (feed, again))
    assert not seen & fresh
    assert (
        again["pre_timestamp"]
        == whole.door.tracker.read(feed["exposure"], whole.door.clock()).stamp_ms
    )
    report_all(whole, feed)
    assert min(ttls(redis_client, visitor.reader_id)) >= HOUR_S, "a late report ends nothing"


def test_who_comes_by_thrift_has_been_here_before_unless_the_caller_says_otherwise(
    whole: Whole, redis_client: Redis
) -> None:
    address = f"127.0.0.1:{whole.recommender.server.port}"
    with TidingsClient(address) as tidings:
        known = tidings.feed(READER, article_num=3)
        new = tidings.feed(8, article_num=3, context=client.Context(first_visit=True))

    clock = whole.door.clock()
    assert not whole.recommender.tracker.read(known.articles[0].click, clock).first_visit
    assert whole.recommender.tracker.read(new.articles[0].click, clock).first_visit
    assert ttls(redis_client, READER) == {DAYS_S}
    of_new = {given_s(redis_client, key) for key in redis_client.scan_iter("t?:{8}:*")}
    assert of_new == {FIRST_VISIT_S}


def test_a_caller_who_calls_a_known_reader_new_changes_nothing_for_them(
    whole: Whole, redis_client: Redis
) -> None:
    address = f"127.0.0.1:{whole.recommender.server.port}"
    with TidingsClient(address) as tidings:
        first = tidings.feed(READER, article_num=5)
        again = tidings.feed(READER, article_num=5, context=client.Context(first_visit=True))

    ids = [{one.article_id for one in feed.articles} for feed in (first, again)]
    assert not ids[0] & ids[1]
    assert ttls(redis_client, READER) == {DAYS_S}


def test_what_first_visitors_do_moves_no_ranking_and_what_readers_do_moves_all(
    whole: Whole, redis_client: Redis
) -> None:
    for _ in range(5):
        report_all(whole, Visitor(whole).feed())
    nothing = ranked_by(whole, redis_client)

    visitor = Visitor(whole)
    visitor.feed()
    report_all(whole, visitor.feed())
    something = ranked_by(whole, redis_client)

    assert nothing == dict.fromkeys(nothing, 0)
    assert all(something.values()), something
    assert (something["clicks to learn from"], something["batches to learn from"]) == (1, 1)


def test_a_first_visitors_own_click_counts_for_them_at_once_and_on_the_card(
    whole: Whole, redis_client: Redis
) -> None:
    visitor = Visitor(whole)
    feed = visitor.feed()
    article_id = feed["results"][0]["article_id"]
    report_all(whole, feed)

    state = whole.door.history.read(visitor.reader_id)
    fold(whole.door.newsroom.engine, redis_client, consumer="test")

    assert Action.CLICK in {acted.action for acted in state.acts}
    assert article_id in state.seen
    counts = whole.door.newsroom.counts(article_id)
    assert (counts["click"], counts["liking"], counts["exposure"]) == (1, 1, 1)
    assert visitor.send("GET", f"/articles/{article_id}/mine").json["liked"]


@pytest.mark.parametrize("ended", [False, True], ids=["its state is there", "its state has ended"])
@pytest.mark.parametrize("with_id", [False, True], ids=["no id", "the id"])
def test_no_report_makes_its_own_reader_one_who_came_back(
    whole: Whole, redis_client: Redis, *, ended: bool, with_id: bool
) -> None:
    visitor = Visitor(whole)
    feed = visitor.feed()
    events = [{"track": feed["results"][0]["track"]["click"]}, {"track": feed["exposure"]}]
    if ended:
        events.pop()  # its batch has ended with it
        redis_client.delete(READER_KEY.of(visitor.reader_id), VERSION.of(visitor.reader_id))

    for _ in range(3):
        if with_id:
            assert visitor.send("POST", "/behaviors", json={"events": events}).status_code == 202
        else:
            report(whole, *(event["track"] for event in events))

    ranked = ranked_by(whole, redis_client)
    assert ranked == dict.fromkeys(ranked, 0)
    assert ttls(redis_client, visitor.reader_id) == {FIRST_VISIT_S}


def test_tokens_of_the_first_visit_count_once_the_id_has_come_back(
    whole: Whole, redis_client: Redis
) -> None:
    visitor = Visitor(whole)
    feed = visitor.feed()
    visitor.feed()

    report_all(whole, feed)

    assert all(ranked_by(whole, redis_client).values())


def test_a_mark_without_an_id_is_a_first_visitors_and_with_one_a_readers(
    whole: Whole, redis_client: Redis
) -> None:
    visitor = Visitor(whole)

    assert visitor.send("PUT", "/articles/1/liking").status_code == 204
    assert ttls(redis_client, visitor.reader_id) == {FIRST_VISIT_S}
    assert visitor.send("PUT", "/articles/2/liking").status_code == 204

    assert ttls(redis_client, visitor.reader_id) == {HOUR_S}
    events = read_log(redis_client, BEGINNING, 10).events
    assert [(event.article_id, event.unreturned) for event in events] == [(1, True), (2, False)]


def test_what_counted_nowhere_is_taken_back_from_nowhere(whole: Whole, redis_client: Redis) -> None:
    visitor = Visitor(whole)
    feed = visitor.feed()
    report_all(whole, feed)
    fold(whole.door.newsroom.engine, redis_client, consumer="test")
    visitor.feed()

    report(whole, feed["results"][0]["track"]["liking"], undone=True)

    assert ranked_by(whole, redis_client)["tallied acts"] == 0
    assert whole.door.newsroom.counts(feed["results"][0]["article_id"])["liking"] == 0


def test_programs_of_the_release_before_and_of_this_one_read_each_others_tokens_and_events() -> (
    None
):
    """The flag stands in a byte that tokens had to spare, and the mark behind an event's fields."""
    keys = [b"k" * 32]
    shown = Shown(Action.CLICK, 7, 10, stamp_ms=5, article_id=12, variant=3, first_visit=True)
    token = Tracker(keys).issue(shown, now_ms=9000)
    event = Event(
        action=Action.CLICK,
        reader_id=7,
        channel_id=10,
        stamp_ms=5,
        article_id=12,
        position=0,
        at_ms=9000,
        unreturned=True,
    )
    ((*before, _),) = msgspec.msgpack.decode(encode([event]))

    assert Tracker(keys).read(token, 9000) == shown
    body = _raw(token)[:-MAC_BYTES]
    assert struct.Struct(">BqiqqBBIBBx").unpack(body) == (1, 7, 10, 5, 12, 0, 0, 9, 3, 0)
    assert decode(encode([event])).events == [event]
    old_form = msgspec.msgpack.encode([before])
    assert decode(old_form).events == [msgspec.structs.replace(event, unreturned=False)]


def _raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token)
