"""Where candidates come from: what is new, what is popular, and what was seen the longest ago."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import redis
from sqlalchemy import Engine

from services.recommender.candidate import Question
from services.recommender.catalogue import Catalogue
from services.recommender.sources.again import recall_again
from services.recommender.sources.hot import HOT, HOT_TTL_S, Hot
from services.recommender.sources.latest import HALF_LIFE_MS, LATEST, LATEST_LEAST, Latest
from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock, Newsroom
from tidings.reading import popularity


@pytest.fixture
def newsroom(engine: Engine) -> Newsroom:
    room = Newsroom(engine, Clock())
    room.channels(1, 2)
    return room


@pytest.fixture
def catalogue(newsroom: Newsroom) -> Catalogue:
    return Catalogue(newsroom.engine, newsroom.clock, newsroom.read_now)


def question(channel_id: int = 0, wanted: int = 10, seen: Sequence[int] = ()) -> Question:
    return Question(channel_id, wanted, NOW_MS, frozenset(seen))


def test_the_latest_are_the_newest_unseen_scored_by_age(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Freshness is one at publication and halves with each half-life; what was seen is stepped
    over."""
    now, seen, half = newsroom.articles(3, published_ms=NOW_MS, apart_ms=HALF_LIFE_MS // 2)
    catalogue.refresh()
    proposed = list(Latest(catalogue)(question(seen=[seen])))

    assert [(one.entry.article_id, one.scores) for one in proposed] == [
        (now, {LATEST: 1.0}),
        (half, {LATEST: 0.5}),
    ]


@pytest.mark.parametrize(("wanted", "expected"), [(1, LATEST_LEAST), (10, 30), (20, 60), (100, 80)])
def test_the_latest_are_enough_to_choose_from_and_no_more(
    newsroom: Newsroom, catalogue: Catalogue, wanted: int, expected: int
) -> None:
    """Three for each one wanted, thirty at least, and never the whole catalogue unless it is that
    small."""
    newsroom.articles(80)
    catalogue.refresh()

    assert expected == len(list(Latest(catalogue)(question(wanted=wanted))))


def test_the_latest_reach_the_end_of_the_backlog(newsroom: Newsroom, catalogue: Catalogue) -> None:
    """However much was seen, the oldest unseen article is found: a feed ends only where the channel
    ends."""
    ids = newsroom.articles(200)
    catalogue.refresh()

    assert [one.entry.article_id for one in Latest(catalogue)(question(seen=ids[:-1]))] == ids[-1:]


class Rankings:
    """Stands for the popularity rankings in Redis, which may be away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranking: list[tuple[int, float]] = []
        self.reads = 0
        self.is_away = False
        monkeypatch.setattr(popularity, "top", self.top)

    def top(self, _redis: object, _channel_id: int, _limit: int) -> list[tuple[int, float]]:
        self.reads += 1
        if self.is_away:
            raise redis.ConnectionError("Redis is away")
        return self.ranking


@pytest.fixture
def rankings(monkeypatch: pytest.MonkeyPatch) -> Rankings:
    return Rankings(monkeypatch)


@pytest.fixture
def monotonic_s() -> list[float]:
    """The monotonic clock: one number, to be moved."""
    return [100.0]


@pytest.fixture
def hot(catalogue: Catalogue, rankings: Rankings, monotonic_s: list[float]) -> Hot:
    return Hot(redis.Redis(), catalogue, lambda: monotonic_s[0])


def test_the_hot_are_scored_by_their_share_of_the_first(
    newsroom: Newsroom, catalogue: Catalogue, rankings: Rankings, hot: Hot
) -> None:
    """The most popular has one, the others their part of it; what only fills the ranking up is not
    proposed."""
    first, second, filler, gone = newsroom.articles(4)
    newsroom.change(gone, status="taken_down")
    catalogue.refresh()
    rankings.ranking = [(gone, 90.0), (first, 80.0), (second, 20.0), (10**12, 5.0), (filler, 0.0)]

    assert [(one.entry.article_id, one.scores[HOT]) for one in hot(question())] == [
        (first, 80 / 90),
        (second, 20 / 90),
    ]


@pytest.mark.parametrize("ranking", [[], [(1, 0.0)]])
def test_a_site_where_nobody_has_read_anything_has_nothing_hot(
    newsroom: Newsroom,
    catalogue: Catalogue,
    rankings: Rankings,
    hot: Hot,
    ranking: list[tuple[int, float]],
) -> None:
    """No ranking, or one of newest articles only, proposes nothing and divides by nothing."""
    newsroom.article()
    catalogue.refresh()
    rankings.ranking = ranking

    assert list(hot(question())) == []


def test_a_ranking_is_read_once_in_two_seconds(
    newsroom: Newsroom, catalogue: Catalogue, rankings: Rankings, hot: Hot, monotonic_s: list[float]
) -> None:
    """Not once a request, and each channel for itself."""
    for _ in range(3):
        list(hot(question(0)))
    list(hot(question(1)))
    assert rankings.reads == 2
    monotonic_s[0] += HOT_TTL_S
    list(hot(question(0)))

    assert rankings.reads == 3


def test_the_last_known_ranking_serves_on_while_redis_is_away(
    newsroom: Newsroom, catalogue: Catalogue, rankings: Rankings, hot: Hot, monotonic_s: list[float]
) -> None:
    """One source that fails must not fail the feed; and it is not asked again with every
    request."""
    id_ = newsroom.article()
    catalogue.refresh()
    rankings.ranking = [(id_, 5.0)]
    list(hot(question()))
    rankings.is_away = True
    monotonic_s[0] += HOT_TTL_S
    proposed = [[one.entry.article_id for one in hot(question())] for _ in range(3)]

    assert proposed == [[id_]] * 3
    assert rankings.reads == 2


def test_the_longest_ago_come_again_in_their_order(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Of the channel's visible articles, as many as wanted, those shown the longest ago first."""
    ids = newsroom.articles(6, channel_id=1)
    other = newsroom.article(channel_id=2, published_ms=NOW_MS - HOUR_MS)
    newsroom.change(ids[1], status="taken_down")
    catalogue.refresh()
    seen = [other, *ids[::-1]]

    def again(channel_id: int, wanted: int) -> list[int]:
        found = recall_again(catalogue, question(channel_id, wanted, seen), seen)
        return [one.entry.article_id for one in found]

    assert again(1, 3) == [ids[5], ids[4], ids[3]]
    assert again(1, 100) == [ids[5], ids[4], ids[3], ids[2], ids[0]]
    assert again(0, 2) == [other, ids[5]]
