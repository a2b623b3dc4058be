"""The contract, line by line, through the real server and the client that the gateway uses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolAccelerated
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

from services.recommender.mix import EXPLORED_AT
from services.recommender.sources.latest import LATEST
from services.recommender.sources.untried import UNTRIED
from tests.conftest import MakeSettings
from tests.integration.recommender.serving import READER, Recommender, ids_of, serve
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tests.lab.servers import start_redis
from tidings.reading.acts import TRACKED, Action
from tidings.reading.tracking import Shown
from tidings.rpc.errors import CallerFaultError, ExpectedError, ServerFaultError
from tidings.store.redis import make_redis
from tidings_idl.base.ttypes import Error, HealthProbe
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import Event, ReportRequest, UserRequest, Verdict

YEAR_3000_MS = 32_503_680_000_000


@pytest.fixture
def recommender(recommender: Recommender) -> Recommender:
    """The recommender of a site with fifty articles: thirty in channel 1, twenty older ones in
    channel 2."""
    recommender.newsroom.articles(30, channel_id=1)
    recommender.newsroom.articles(20, channel_id=2, published_ms=NOW_MS - DAY_MS)
    recommender.catalogue.refresh()
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


def batches(recommender: Recommender, number: int, **request: Any) -> list[tuple[int, list[int]]]:
    """Ask for fresh batches, two seconds apart, the last one a second ago; returns each one's stamp
    and ids."""
    made = []
    for _ in range(number):
        stamp_ms = recommender.clock.advance(SECOND_MS)
        made.append((stamp_ms, ids_of(recommender.ask(**request))))
        recommender.clock.advance(SECOND_MS)
    return made


@pytest.mark.parametrize("time_stamp", [0, NOW_MS, NOW_MS + HOUR_MS, YEAR_3000_MS, 2**63 - 1])
def test_a_first_request_is_fresh_whatever_the_readers_clock_says(
    recommender: Recommender, time_stamp: int
) -> None:
    """Zero is now, and a clock that runs ahead, to the year 3000 or the end of time, counts as
    now."""
    response = recommender.ask(time_stamp)

    assert len(response.recommends) == 10
    assert response.exposure
    assert response.time_stamp == 0


@pytest.mark.parametrize(
    "time_stamp",
    [0, NOW_MS + 3 * SECOND_MS, YEAR_3000_MS, NOW_MS + SECOND_MS - 20, NOW_MS - HOUR_MS // 2],
    ids=["0", "now", "year 3000", "20 ms behind the batch", "half an hour behind"],
)
def test_a_refresh_by_any_clock_is_fresh(recommender: Recommender, time_stamp: int) -> None:
    """A new batch that repeats nothing, and the answer names the newest batch, the page before: no
    clock a little behind gets the page that it has just seen, or an empty one."""
    ((stamp_ms, first),) = batches(recommender, 1)
    recommender.clock.advance(SECOND_MS)
    response = recommender.ask(time_stamp)

    assert not set(first) & set(ids_of(response))
    assert stamp_ms == response.time_stamp
    assert response.exposure


def test_a_client_clock_that_ran_ahead_does_not_freeze_its_feed(recommender: Recommender) -> None:
    """A batch asked for from the year 3000 is stamped with the server's time, so the next refresh
    is fresh too."""
    recommender.ask(YEAR_3000_MS)
    recommender.clock.advance(SECOND_MS)
    response = recommender.ask(recommender.clock())

    assert response.exposure
    assert response.time_stamp == NOW_MS


def test_the_newest_stamp_in_the_second_of_its_making_is_a_refresh(
    recommender: Recommender,
) -> None:
    """Two windows that say "now" in one millisecond both get a fresh batch: no client has been told
    that stamp yet."""
    now_ms = recommender.clock.advance(SECOND_MS)
    first, second = recommender.ask(now_ms), recommender.ask(now_ms)

    assert not {*ids_of(first)} & {*ids_of(second)}
    assert second.exposure
    assert second.time_stamp == now_ms


def test_a_request_at_the_newest_batchs_stamp_is_history(recommender: Recommender) -> None:
    """T = L: the batch itself, in the order first shown, with no new exposure; the answer names the
    batch before."""
    (one, two) = batches(recommender, 2)
    response = recommender.ask(two[0])

    assert two[1] == ids_of(response)
    assert one[0] == response.time_stamp
    assert response.exposure == ""


def test_a_moment_long_ago_between_two_batches_gets_the_earlier_one(
    recommender: Recommender,
) -> None:
    """The newest batch recorded at or before T, which need not be anybody's stamp."""
    (one, two, _) = batches(recommender, 3)
    recommender.clock.advance(DAY_MS)

    assert one[1] == ids_of(recommender.ask(two[0] - 1))
    assert two[1] == ids_of(recommender.ask(two[0] + 1))
    assert one[0] == recommender.ask(two[0] + 1).time_stamp


def test_a_request_before_the_first_batch_gets_nothing(recommender: Recommender) -> None:
    """Nothing there: an empty list and 0, which ends the walk back."""
    ((stamp_ms, _),) = batches(recommender, 1)
    recommender.clock.advance(DAY_MS)

    for time_stamp in (1, NOW_MS - DAY_MS, stamp_ms - 1):
        response = recommender.ask(time_stamp)
        assert (response.recommends, response.time_stamp, response.exposure) == ([], 0, "")


def test_the_first_batch_has_none_before_it(recommender: Recommender) -> None:
    """The oldest page of history answers with 0, so a client knows that it has arrived."""
    ((stamp_ms, ids),) = batches(recommender, 1)
    response = recommender.ask(stamp_ms)

    assert (ids_of(response), response.time_stamp) == (ids, 0)


def test_history_is_identical_each_time_it_is_asked_for(recommender: Recommender) -> None:
    """A page of history does not depend on how many articles are wanted now, nor on what was
    published since."""
    ((stamp_ms, ids),) = batches(recommender, 1)
    recommender.newsroom.articles(5, published_ms=NOW_MS)
    recommender.catalogue.refresh()

    assert [ids, ids, ids] == [
        ids_of(recommender.ask(stamp_ms, article_num=number)) for number in (1, 10, 100)
    ]


def test_a_reader_pages_forward_until_the_channel_is_exhausted_and_back_to_the_start(
    recommender: Recommender,
) -> None:
    """Nothing twice on the way forward, and the last page is filled up with the oldest; the same
    pages, reversed, on the way back."""
    forward = batches(recommender, 5, channel_id=1, article_num=7)
    shown = [id_ for _, ids in forward for id_ in ids]
    assert [len(ids) for _, ids in forward] == [7, 7, 7, 7, 7]
    assert len(set(shown[:30])) == 30
    assert shown[30:] == shown[:5]

    backward, time_stamp = [], forward[-1][0]
    while time_stamp:
        response = recommender.ask(time_stamp, channel_id=1)
        backward.append((time_stamp, ids_of(response)))
        time_stamp = response.time_stamp
    assert forward[::-1] == backward


def test_an_exhausted_channel_shows_the_oldest_again(recommender: Recommender) -> None:
    """After the last unseen article the ones shown the longest ago come back, in full pages, in
    turn."""
    forward = batches(recommender, 3, channel_id=2)
    assert [len(ids) for _, ids in forward] == [10, 10, 10]

    assert forward[0][1] == forward[2][1]
    assert forward[1][1] == ids_of(recommender.ask(channel_id=2))


def test_what_is_published_to_an_exhausted_channel_comes_first(recommender: Recommender) -> None:
    """Old articles come again only after all that is new."""
    (first, _) = batches(recommender, 2, channel_id=2)
    new = recommender.newsroom.articles(3, channel_id=2)
    recommender.catalogue.refresh()
    ids = ids_of(recommender.ask(channel_id=2))

    assert set(new) == set(ids[:3])
    assert first[1][:7] == ids[3:]


def test_a_channel_of_three_articles_gives_three(recommender: Recommender) -> None:
    """However many are asked for, and each once, each time."""
    recommender.newsroom.channels(3)
    new = recommender.newsroom.articles(3, channel_id=3)
    recommender.catalogue.refresh()
    pages = [ids for _, ids in batches(recommender, 3, channel_id=3, article_num=100)]

    assert [sorted(page) for page in pages] == [sorted(new)] * 3


def test_walking_back_meets_each_batch_once_while_others_are_added(
    recommender: Recommender,
) -> None:
    """A second window of the same reader refreshes all the time; the first still walks back through
    every page."""
    made = batches(recommender, 3)
    backward, time_stamp = [], made[-1][0]
    while time_stamp:
        recommender.clock.advance(SECOND_MS)
        recommender.ask()
        response = recommender.ask(time_stamp)
        backward.append(ids_of(response))
        time_stamp = response.time_stamp

    assert [ids for _, ids in reversed(made)] == backward


def test_each_channel_has_a_history_of_its_own(recommender: Recommender) -> None:
    """L is the newest batch of this reader in this channel; "for you" is a channel like the others
    here."""
    (stamp_ms, _), *_ = batches(recommender, 1, channel_id=1)

    recommender.clock.advance(SECOND_MS)
    assert recommender.ask(channel_id=2).time_stamp == 0
    assert recommender.ask(channel_id=0).time_stamp == 0
    recommender.clock.advance(SECOND_MS)
    assert recommender.ask(stamp_ms, channel_id=2).time_stamp == NOW_MS + 3 * SECOND_MS
    assert stamp_ms == recommender.ask(channel_id=1).time_stamp


def test_a_channel_shows_its_own_articles_and_for_you_shows_all(recommender: Recommender) -> None:
    """Channel 0 is every channel together; any other is itself."""
    of_two = ids_of(recommender.ask(channel_id=2, article_num=100))
    everything = ids_of(recommender.ask(user_id=8, channel_id=0, article_num=100))

    assert len(of_two) == 20
    view = recommender.catalogue.view()
    assert {*view.channels[view.rows_of(of_two)].tolist()} == {2}
    assert len(set(everything)) == 50


def test_what_was_seen_in_one_channel_is_not_shown_in_another(recommender: Recommender) -> None:
    """A fresh batch repeats nothing that the reader was shown anywhere."""
    seen = ids_of(recommender.ask(channel_id=1, article_num=20))

    assert not set(seen) & set(ids_of(recommender.ask(channel_id=0, article_num=30)))


def test_a_request_that_says_little_gets_ten_articles_for_you_now(recommender: Recommender) -> None:
    """Absent fields have the defaults of the IDL: channel 0, ten articles, now."""
    response = recommender.client.call("user_recommend", UserRequest(user_id=READER))

    assert len(response.recommends) == 10
    assert response.exposure


def test_a_server_whose_clock_was_set_back_still_serves_fresh_batches(
    recommender: Recommender,
) -> None:
    """Newest batches lie in the future then: "now" must not be history until that future has
    come."""
    ((stamp_ms, first),) = batches(recommender, 1)
    recommender.clock.advance(-HOUR_MS)
    by_client_clock = recommender.ask(recommender.clock())
    by_zero = recommender.ask()
    response = recommender.ask(stamp_ms)

    assert stamp_ms == by_client_clock.time_stamp
    assert by_zero.time_stamp == stamp_ms + 1
    assert len({*first, *ids_of(by_client_clock), *ids_of(by_zero)}) == 30
    assert first == ids_of(response)


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
        at_once.wait(10)
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
    with start_redis("--appendonly", "yes") as server:
        settings = make_settings(database_url=database_url, redis_url=server.url)
        with (
            make_redis(settings.redis) as redis,
            serve(settings, engine, redis, clock) as recommender,
        ):
            first = recommender.ask()
            server.kill()
            _assert_unavailable(recommender, first.exposure)
            server.restart()
            second = recommender.ask()
            with server.frozen():
                _assert_unavailable(recommender, first.exposure)
            third = recommender.ask()

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
        at_once.wait(30)
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
