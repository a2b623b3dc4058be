"""Which batch a request gets: what `time_stamp` means, line by line, through the real server."""

from __future__ import annotations

import pytest

from tests.integration.recommender.serving import (
    READER,
    Recommender,
    batches,
    ids_of,
    publish_fifty,
)
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, SECOND_MS
from tidings_idl.recommend.ttypes import UserRequest

YEAR_3000_MS = 32_503_680_000_000


@pytest.fixture
def recommender(recommender: Recommender) -> Recommender:
    publish_fifty(recommender)
    return recommender


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
