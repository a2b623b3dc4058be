"""The contract, line by line, through the real server and the client that the gateway uses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier

import pytest
from sqlalchemy import Engine
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolAccelerated
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

from services.recommender.mix import EXPLORED_AT
from services.recommender.sources.latest import LATEST
from services.recommender.sources.untried import UNTRIED
from tests.conftest import MakeSettings
from tests.integration.recommender.serving import (
    PATIENCE_S,
    READER,
    Recommender,
    batches,
    ids_of,
    publish_fifty,
    serve,
)
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tests.lab.servers import start_redis
from tests.lab.sites import PATIENT
from tidings.reading.acts import TRACKED, Action
from tidings.reading.tracking import Shown
from tidings.rpc.errors import CallerFaultError, ExpectedError, ServerFaultError
from tidings.store.redis import make_redis
from tidings_idl.base.ttypes import Error, HealthProbe
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import Event, ReportRequest, UserRequest, Verdict


@pytest.fixture
def recommender(recommender: Recommender) -> Recommender:
    publish_fifty(recommender)
    return recommender


@contextmanager
def stock_client(port: int, protocol: type[TBinaryProtocol]) -> Iterator[UserRecommend.Client]:
    """What the Thrift tutorial makes in any language: the generated client over framed binary."""
    transport = TFramedTransport(TSocket("127.0.0.1", port))
    transport.open()
    try:
        yield UserRecommend.Client(protocol(transport))
    finally:
        transport.close()


def test_tokens_name_the_batch_the_article_its_place_and_the_action(
    recommender: Recommender,
) -> None:
    """Every token of an answer reads back to what it was given out for."""
    recommender.clock.advance(SECOND_MS)
    response = recommender.ask(channel_id=1)
    stamp_ms = recommender.clock()

    assert Shown(Action.EXPOSURE, READER, 1, stamp_ms) == recommender.read(response.exposure)
    for position, article in enumerate(response.recommends):
        track = article.track
        source = recommender.read(track.click).source
        assert source in {LATEST.number, UNTRIED.number}
        tokens = (track.click, track.collect, track.reading, track.liking, track.dislike)
        expected = [
            Shown(action, READER, 1, stamp_ms, article.article_id, position, source)
            for action in TRACKED
        ]
        assert expected == [recommender.read(token) for token in tokens]
        assert max(len(token) for token in tokens) <= 120


def test_tokens_of_history_name_the_same_events(recommender: Recommender) -> None:
    """A click is the same click, in the first showing and on the way back; its token is fresh and
    valid for longer."""
    recommender.clock.advance(SECOND_MS)
    first = recommender.ask()
    stamp_ms = recommender.clock()
    recommender.clock.advance(29 * DAY_MS)
    again = recommender.ask(stamp_ms)

    assert [recommender.read(article.track.click).event_id for article in first.recommends] == [
        recommender.read(article.track.click).event_id for article in again.recommends
    ]
    recommender.clock.advance(2 * DAY_MS)
    assert (
        recommender.read(again.recommends[0].track.click).article_id
        == first.recommends[0].article_id
    )


def test_tokens_name_their_places_though_an_article_has_gone_from_the_page(
    recommender: Recommender,
) -> None:
    """A taken-down article leaves a gap in a page of history: what stood below it keeps its place
    and its event."""
    recommender.clock.advance(SECOND_MS)
    first = recommender.ask()
    recommender.newsroom.change(ids_of(first)[0], status="taken_down")
    recommender.catalogue.refresh()
    stamp_ms = recommender.clock()
    recommender.clock.advance(SECOND_MS)
    again = recommender.ask(stamp_ms)

    assert [recommender.read(article.track.click).event_id for article in first.recommends[1:]] == [
        recommender.read(article.track.click).event_id for article in again.recommends
    ]


def test_a_taken_down_article_is_on_no_page(recommender: Recommender) -> None:
    """Neither on a page of history that had it, nor on any fresh one, nor among those that come
    again."""
    recommender.clock.advance(SECOND_MS)
    seen = ids_of(recommender.ask(channel_id=2))
    unseen = ({*range(1, 51)} - {*seen}).pop()
    for article_id in (seen[3], unseen):
        recommender.newsroom.change(article_id, status="taken_down")
    recommender.catalogue.refresh()
    stamp_ms = recommender.clock()
    recommender.clock.advance(SECOND_MS)
    history = ids_of(recommender.ask(stamp_ms, channel_id=2))
    later = [id_ for _, ids in batches(recommender, 6, channel_id=2) for id_ in ids]

    assert seen[:3] + seen[4:] == history
    assert seen[0] in later
    assert not {seen[3], unseen} & {*later}


def test_an_article_appears_when_its_time_has_come(recommender: Recommender) -> None:
    """Published an hour from now means shown in an hour, without anybody touching it then."""
    future = recommender.newsroom.article(channel_id=2, published_ms=NOW_MS + HOUR_MS)
    recommender.catalogue.refresh()
    early = ids_of(recommender.ask(channel_id=2, article_num=100))
    recommender.clock.advance(HOUR_MS)

    assert future not in early
    assert future == ids_of(recommender.ask(channel_id=2, article_num=100))[0]


@pytest.mark.parametrize("number", [2, 16])
def test_calls_at_once_for_one_reader_never_overlap(recommender: Recommender, number: int) -> None:
    """However many windows a reader opens at the same moment, in one channel or in several, no
    article is in two of them."""
    recommender.newsroom.articles(200)
    recommender.catalogue.refresh()
    at_once = Barrier(number)

    def ask(place: int) -> list[int]:
        at_once.wait(PATIENCE_S)
        return ids_of(recommender.ask(channel_id=place % 2))

    with ThreadPoolExecutor(number) as pool:
        pages = list(pool.map(ask, range(number)))

    assert [len(page) for page in pages] == [10] * number
    assert len({id_ for page in pages for id_ in page}) == 10 * number


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (UserRequest(0, 0, 10, 0), {"user_id"}),
        (UserRequest(-1, 0, 10, 0), {"user_id"}),
        (UserRequest(None, 0, 10, 0), {"user_id"}),
        (UserRequest(7, -1, 10, 0), {"channel_id"}),
        (UserRequest(7, 0, 0, 0), {"article_num"}),
        (UserRequest(7, 0, 101, 0), {"article_num"}),
        (UserRequest(7, 0, -5, 0), {"article_num"}),
        (UserRequest(7, 0, 10, -1), {"time_stamp"}),
        (
            UserRequest(-(2**63), -(2**31), 2**31 - 1, -(2**63)),
            {"user_id", "channel_id", "article_num", "time_stamp"},
        ),
    ],
)
def test_a_request_out_of_range_is_refused_naming_each_field(
    recommender: Recommender, request_: UserRequest, fields: set[str]
) -> None:
    """422 with a reason for every field that is wrong, all of them at once; and it is the caller's
    fault."""
    with pytest.raises(CallerFaultError) as caught:
        recommender.client.call("user_recommend", request_)

    assert caught.value.code == 422
    assert fields == set(caught.value.details)
    assert not caught.value.retryable


def test_a_channel_that_does_not_exist_is_not_found(recommender: Recommender) -> None:
    """404 and the channel's number: an expected answer, and no failure."""
    with pytest.raises(ExpectedError, match="there is no channel 77") as caught:
        recommender.ask(channel_id=77)

    assert caught.value.code == 404


def test_a_new_channel_is_known_after_a_refresh(recommender: Recommender) -> None:
    """A channel opened while the recommender runs is served, empty as it is."""
    recommender.newsroom.channels(3)
    recommender.catalogue.refresh()
    response = recommender.ask(channel_id=3)

    assert (response.recommends, response.time_stamp, response.exposure) == ([], 0, "")


def test_reports_get_one_verdict_each_in_order(recommender: Recommender) -> None:
    """Accepted, refused and expired, side by side; a token that is absent or empty is refused like
    a forged one."""
    response = recommender.ask()
    click = response.recommends[0].track.click
    old = recommender.tracker.issue(Shown(Action.CLICK, READER, 0, NOW_MS, 1), NOW_MS - 31 * DAY_MS)
    events = [
        Event(response.exposure),
        Event(click[:-1]),
        Event(old),
        Event(),
        Event(""),
        Event(click, NOW_MS, 5),
    ]

    assert list(recommender.report(*events)) == [
        Verdict.ACCEPTED,
        Verdict.REFUSED,
        Verdict.EXPIRED,
        Verdict.REFUSED,
        Verdict.REFUSED,
        Verdict.ACCEPTED,
    ]


def test_a_report_holds_one_to_a_hundred_events(recommender: Recommender) -> None:
    """A hundred are taken; none, or one more, is refused as a whole and named."""
    event = Event(recommender.ask().exposure)

    assert recommender.report(*[event] * 100) == [Verdict.ACCEPTED] * 100
    for number in (0, 101):
        with pytest.raises(CallerFaultError) as caught:
            recommender.report(*[event] * number)
        assert (caught.value.code, set(caught.value.details)) == (422, {"events"})


@pytest.mark.parametrize("protocol", [TBinaryProtocol, TBinaryProtocolAccelerated])
def test_a_stock_thrift_client_is_served_like_any_other(
    recommender: Recommender, protocol: type[TBinaryProtocol]
) -> None:
    """Framed binary without headers, as every Thrift library speaks it: same feed, same errors,
    same health."""
    with stock_client(recommender.server.port, protocol) as client:
        ours = ids_of(recommender.ask())
        theirs = client.user_recommend(UserRequest(user_id=READER + 1))
        # Which new article a reader is to try differs from reader to reader.
        assert ours[:EXPLORED_AT] == ids_of(theirs)[:EXPLORED_AT]
        assert len(ours) == len(theirs.recommends)
        # Python's own codec reads and writes an enum as its name, the one in C as its number.
        (verdict,) = client.report(ReportRequest([Event(theirs.exposure)])).verdicts
        assert verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED.name)
        probe = HealthProbe.READINESS.name if protocol is TBinaryProtocol else HealthProbe.READINESS
        assert client.is_healthy(probe) is True
        with pytest.raises(Error) as caught:
            client.user_recommend(UserRequest(user_id=READER, article_num=101))
        assert (caught.value.code, set(caught.value.details)) == (422, {"article_num"})


def test_a_redis_that_is_away_is_said_to_be_a_passing_thing(
    make_settings: MakeSettings, newsroom: Newsroom, engine: Engine, database_url: str, clock: Clock
) -> None:
    """503, retryable, and nothing internal in the message, while Redis is dead or frozen; then all
    is well again."""
    newsroom.articles(30)
    with ExitStack() as stack:
        server = stack.enter_context(start_redis("--appendonly", "yes"))

        def recommender(redis_timeout_s: float) -> Recommender:
            settings = make_settings(
                database_url=database_url, redis_url=server.url, redis_timeout_s=redis_timeout_s
            )
            redis = stack.enter_context(make_redis(settings.redis))
            return stack.enter_context(serve(settings, engine, redis, clock))

        # The second one finds out soon that no answer comes, and also where one was to come.
        patient, impatient = recommender(PATIENT["redis_timeout_s"]), recommender(0.5)
        first = patient.ask()
        server.kill()
        _assert_unavailable(patient, first.exposure)
        server.restart()
        second = patient.ask()
        with server.frozen():
            _assert_unavailable(impatient, first.exposure)
        third = patient.ask()

    assert len({*ids_of(first), *ids_of(second), *ids_of(third)}) == 30


def _assert_unavailable(recommender: Recommender, token: str) -> None:
    for call in (recommender.ask, lambda: recommender.report(Event(token))):
        with pytest.raises(ServerFaultError, match="histories cannot be reached") as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == (503, True)


def test_two_hundred_clients_of_one_reader_get_disjoint_batches_and_all_are_in_history(
    recommender: Recommender,
) -> None:
    """What is refused says so, may be tried again, and has recorded nothing; another reader is
    served beside them."""
    recommender.newsroom.articles(1500)
    recommender.catalogue.refresh()
    at_once = Barrier(200)

    def ask(_: int) -> list[int]:
        at_once.wait(PATIENCE_S)
        with stock_client(recommender.server.port, TBinaryProtocolAccelerated) as client:
            try:
                return ids_of(client.user_recommend(UserRequest(user_id=READER)))
            except Error as ex:
                if (ex.code, ex.retryable) != (503, True):
                    raise
                return []

    with ThreadPoolExecutor(200) as pool:
        answers = pool.map(ask, range(200))
        assert len(recommender.ask(user_id=READER + 1).recommends) == 10
        pages = [page for page in answers if page]

    assert len(pages) >= 16
    shown = [id_ for page in pages for id_ in page]
    assert len(shown) == len({*shown}) == 10 * len(pages)
    recommender.clock.advance(SECOND_MS)
    kept, time_stamp = [], recommender.ask().time_stamp
    while time_stamp:
        response = recommender.ask(time_stamp)
        kept.append(sorted(ids_of(response)))
        time_stamp = response.time_stamp
    assert sorted(kept)[: len(pages)] == sorted(map(sorted, pages))
