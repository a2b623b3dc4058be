"""What is read a lot just now: how acts are weighed, who may be in a ranking, and how it gets to
the readers."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import Engine, event, func, select

from tests.lab.newsroom import HOUR_MS, MINUTE_MS, NOW_MS, Clock, Newsroom
from tidings.process.clock import moment
from tidings.reading import popularity
from tidings.reading.acts import Action
from tidings.reading.events import Event
from tidings.reading.popularity import RANKING_LENGTH, TTL_S, rebuild, top
from tidings.reading.storing import Placed, store_events
from tidings.reading.tables import act_tally
from tidings.reading.tallies import prune_tallies
from tidings.store.engine import transaction


class Site(Newsroom):
    """A newsroom whose readers act, each act by another reader."""

    def act(
        self, article_id: int, *, ago_ms: int = 0, action: Action = Action.CLICK, times: int = 1
    ) -> None:
        """Let that many readers do this, so long ago."""
        at_ms = self.clock() - ago_ms
        events = [
            Event(
                action=action,
                reader_id=next(self._numbers),
                channel_id=1,
                stamp_ms=at_ms,
                article_id=article_id,
                position=0,
                at_ms=at_ms,
            )
            for _ in range(times)
        ]
        with transaction(self.engine) as conn:
            store_events(conn, [Placed(1, event) for event in events])

    def ranking(
        self, client: redis.Redis, channel_id: int = 0, limit: int = 10
    ) -> list[tuple[int, float]]:
        """The channel's ranking, rebuilt now, with its scores to the tenth."""
        rebuild(self.engine, client, moment(self.clock()))
        return [(id_, round(score, 1)) for id_, score in top(client, channel_id, limit)]


@pytest.fixture
def site(engine: Engine) -> Site:
    site = Site(engine, Clock())
    site.channels(1, 2)
    return site


@pytest.mark.parametrize(
    ("ago_ms", "worth"),
    [
        (0, 9.0),
        (10 * MINUTE_MS, 9.0),
        (10 * MINUTE_MS + 1, 3.0),
        (HOUR_MS, 3.0),
        (HOUR_MS + 1, 1.0),
        (24 * HOUR_MS, 1.0),
        (24 * HOUR_MS + 1, 0.0),
    ],
)
def test_an_act_is_worth_less_with_each_window_it_leaves(
    site: Site, redis_client: redis.Redis, ago_ms: int, worth: float
) -> None:
    """The newest acts count in all three windows, a day-old one in the longest only, an older one
    nowhere."""
    article_id = site.article()
    site.act(article_id, ago_ms=ago_ms)

    assert site.ranking(redis_client) == [(article_id, worth)]


def test_each_act_has_its_weight_and_being_shown_has_none(
    site: Site, redis_client: redis.Redis
) -> None:
    """Collecting and liking say more than a click; a dislike says nothing to other readers, or a
    few who agree could take an article out of every ranking."""
    weights = {Action.LIKING: 27.0, Action.CLICK: 9.0, Action.DISLIKE: 0.0}
    ids = site.articles(3)
    for article_id, action in zip(ids, weights, strict=True):
        site.act(article_id, action=action)

    assert list(zip(ids, weights.values(), strict=True)) == site.ranking(redis_client)


def test_a_story_rises_past_yesterdays(site: Site, redis_client: redis.Redis) -> None:
    """Three readers of the last minutes weigh more than twenty of yesterday, and less as they grow
    old."""
    old, new = site.articles(2)
    site.act(old, ago_ms=20 * HOUR_MS, times=20)
    site.act(new, times=3)
    assert site.ranking(redis_client) == [(new, 27.0), (old, 20.0)]

    site.clock.advance(2 * HOUR_MS)
    assert site.ranking(redis_client) == [(old, 20.0), (new, 3.0)]


def test_a_quiet_channel_is_filled_up_with_its_newest(
    site: Site, redis_client: redis.Redis
) -> None:
    """A ranking is never shorter than it must be: after what was read comes what is new, newest
    first."""
    ids = site.articles(4)
    site.act(ids[2])

    assert site.ranking(redis_client) == [
        (ids[2], 9.0),
        (ids[0], 0.0),
        (ids[1], 0.0),
        (ids[3], 0.0),
    ]


def test_what_may_not_be_shown_is_in_no_ranking(site: Site, redis_client: redis.Redis) -> None:
    """Taken down or not yet published: neither among the popular nor among the newest, until its
    time has come."""
    shown, taken_down = site.articles(2)
    future = site.article(published_ms=NOW_MS + HOUR_MS)
    site.change(taken_down, status="taken_down")
    for article_id in (shown, taken_down, future, 10**12):
        site.act(article_id, times=article_id % 7 + 1)

    assert [shown] == [id_ for id_, _ in site.ranking(redis_client)]
    site.clock.advance(HOUR_MS)
    assert {shown, future} == {id_ for id_, _ in site.ranking(redis_client)}


def test_each_channel_ranks_its_own_and_for_you_ranks_all(
    site: Site, redis_client: redis.Redis
) -> None:
    """One ranking for each channel and one over all of them."""
    (one,), (two,) = site.articles(1, channel_id=1), site.articles(1, channel_id=2)
    site.act(one)
    site.act(two, times=2)

    assert site.ranking(redis_client, 0) == [(two, 18.0), (one, 9.0)]
    assert site.ranking(redis_client, 1) == [(one, 9.0)]
    assert site.ranking(redis_client, 2) == [(two, 18.0)]
    assert site.ranking(redis_client, 3) == []


def test_equal_scores_keep_the_order_that_was_decided(
    site: Site, redis_client: redis.Redis
) -> None:
    """Redis sorts equal scores by the text of the id, where "9" comes after "10"; the ranking must
    not."""
    newest_first = site.articles(120)

    assert newest_first == [id_ for id_, _ in site.ranking(redis_client, limit=500)]


def test_a_ranking_is_cut_at_its_length(site: Site, redis_client: redis.Redis) -> None:
    """However many articles there are, a ranking is bounded, and what is read is in it before what
    is new."""
    ids = site.articles(RANKING_LENGTH + 20)
    site.act(ids[-1])
    ranking = site.ranking(redis_client, limit=10_000)

    assert len(ranking) == RANKING_LENGTH
    assert [ids[-1], *ids[: RANKING_LENGTH - 1]] == [id_ for id_, _ in ranking]


def test_more_popular_articles_than_a_ranking_holds_are_ranked_too(
    site: Site, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hottest of the other channel's articles must not use up the places of this one's."""
    monkeypatch.setattr(popularity, "RANKING_LENGTH", 3)
    quiet = site.articles(5, channel_id=2)
    for article_id in site.articles(5, channel_id=1):
        site.act(article_id, times=3)
    for place, article_id in enumerate(quiet):
        site.act(article_id, ago_ms=(place + 1) * HOUR_MS + 1, times=5 - place)

    assert site.ranking(redis_client, 2) == [(quiet[0], 5.0), (quiet[1], 4.0), (quiet[2], 3.0)]


def test_a_ranking_is_swapped_whole(site: Site, redis_client: redis.Redis) -> None:
    """What fell out of the ranking is gone with the rebuild, nothing of the old one is mixed into
    the new one."""
    first = site.articles(2)
    site.ranking(redis_client)
    for article_id in first:
        site.change(article_id, status="taken_down")
    second = site.articles(2)

    assert second == [id_ for id_, _ in site.ranking(redis_client)]


def test_rankings_of_a_dead_job_expire(site: Site, redis_client: redis.Redis) -> None:
    """After a day without a rebuild there is no ranking rather than one of the day before
    yesterday."""
    site.articles(1)
    assert rebuild(site.engine, redis_client, moment(NOW_MS)) == 3

    for key in redis_client.scan_iter():
        assert TTL_S - 100 < redis_client.ttl(key) <= TTL_S
    redis_client.flushall()
    assert top(redis_client, 0, 10) == []


def test_a_site_without_articles_has_empty_rankings(site: Site, redis_client: redis.Redis) -> None:
    """Nothing to rank is no error, and the ranking of an emptied channel goes away."""
    (only,) = site.articles(1)
    assert site.ranking(redis_client, 1) == [(only, 0.0)]
    site.change(only, status="taken_down")

    assert site.ranking(redis_client, 1) == []


def test_the_work_of_a_rebuild_does_not_grow_with_what_the_day_was(
    site: Site, redis_client: redis.Redis
) -> None:
    """Trap: a rebuild that reads each behaviour of a day, each minute. With ten times as many acts
    on the same articles in the same minutes it reads as many rows, and none of a behaviour."""
    ids = site.articles(3)
    statements: list[str] = []

    @event.listens_for(site.engine, "before_cursor_execute")
    def keep(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    def rows_read() -> int:
        with site.engine.connect() as conn:
            return conn.scalar(select(func.count()).select_from(act_tally)) or 0

    for article_id in ids:
        for ago_ms in (0, 5 * MINUTE_MS, 3 * HOUR_MS):
            site.act(article_id, ago_ms=ago_ms)
    few = rows_read()
    for article_id in ids:
        for ago_ms in (0, 5 * MINUTE_MS, 3 * HOUR_MS):
            site.act(article_id, ago_ms=ago_ms, times=10)

    assert rows_read() == few
    statements.clear()
    rebuild(site.engine, redis_client, moment(site.clock()))
    event.remove(site.engine, "before_cursor_execute", keep)
    assert statements
    assert not [one for one in statements if "FROM behaviour" in one or "FROM exposure" in one]


def test_counts_that_no_ranking_looks_at_any_more_are_deleted(site: Site) -> None:
    """Minutes for two hours and hours for two days, whatever is read."""
    article_id = site.article()
    for ago_ms in (0, 3 * HOUR_MS, 50 * HOUR_MS):
        site.act(article_id, ago_ms=ago_ms)
    with transaction(site.engine) as conn:
        gone = prune_tallies(conn, moment(site.clock()))
        left = sorted(conn.scalars(select(act_tally.c.span)))

    assert (gone, left) == (3, [1, 60, 60])
