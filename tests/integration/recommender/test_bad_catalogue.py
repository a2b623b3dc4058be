"""Readers are answered while the articles, their rows and the clock are not as they should be."""

from __future__ import annotations

import pytest
from redis import Redis
from sqlalchemy import Engine

from services.recommender.choosing import Chooser, Chosen
from services.recommender.question import Question
from services.recommender.trace import Trace
from tests.integration.recommender.serving import Recommender, ids_of, serve
from tests.lab.newsroom import HOUR_MS, MINUTE_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tidings.process.settings import Settings


def spoil(newsroom: Newsroom, article_id: int) -> None:
    """Make its publication a date that no calendar has, as another program might."""
    newsroom.change(article_id)
    with newsroom.engine.begin() as conn:
        conn.exec_driver_sql(
            f"UPDATE article SET published_at = '2026-02-30 00:00:00.000' WHERE id = {article_id}"
        )


def test_a_row_that_cannot_be_read_costs_nobody_the_feed(
    settings: Settings, engine: Engine, redis_client: Redis, newsroom: Newsroom, clock: Clock
) -> None:
    """At the start, and under a running worker; mended, it is recommended."""
    at_start, later, *good = newsroom.articles(5)
    spoil(newsroom, at_start)
    with serve(settings, engine, redis_client, clock) as recommender:
        assert {*ids_of(recommender.ask())} == {later, *good}

        spoil(newsroom, later)
        recommender.catalogue.refresh()
        assert {*ids_of(recommender.ask(user_id=8))} == {*good}
        assert recommender.server.is_ready()

        for article_id in (at_start, later):
            newsroom.change(article_id, published_ms=NOW_MS - HOUR_MS)
        recommender.catalogue.refresh()
        assert {*ids_of(recommender.ask(user_id=9))} == {at_start, later, *good}


def test_an_article_that_goes_while_a_feed_is_chosen_is_not_in_it(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the history of that batch, where the others keep their places."""
    gone, *others = recommender.newsroom.articles(5)
    recommender.catalogue.refresh()
    choose = Chooser.choose

    def choose_and_take_down(
        chooser: Chooser, question: Question, trace: Trace | None = None
    ) -> Chosen:
        chosen = choose(chooser, question, trace)
        assert gone in chosen.ids
        recommender.newsroom.change(gone, status="taken_down")
        recommender.catalogue.refresh()
        return chosen

    monkeypatch.setattr(Chooser, "choose", choose_and_take_down)
    shown = ids_of(recommender.ask())
    monkeypatch.undo()

    assert {*shown} == {*others}
    recommender.clock.advance(2 * SECOND_MS)
    newer = recommender.ask()
    assert ids_of(recommender.ask(newer.time_stamp)) == shown


def test_a_channel_with_one_article_shows_it_again_and_again(recommender: Recommender) -> None:
    """There is nothing else; once it is taken down, the list is empty, and the reader's history of
    the channel too."""
    recommender.newsroom.articles(20)
    only = recommender.newsroom.article(channel_id=2)
    recommender.catalogue.refresh()
    answers = []
    for _ in range(3):
        recommender.clock.advance(2 * SECOND_MS)
        answers.append(recommender.ask(channel_id=2))
    assert [ids_of(answer) for answer in answers] == [[only]] * 3

    recommender.newsroom.change(only, status="taken_down")
    recommender.catalogue.refresh()
    assert ids_of(recommender.ask(channel_id=2)) == []
    assert ids_of(recommender.ask(answers[-1].time_stamp, channel_id=2)) == []


def test_a_clock_that_is_set_back_an_hour_leaves_readers_their_feeds(
    recommender: Recommender,
) -> None:
    """The worker's and the database's: what is published by that clock is shown, in batches that
    repeat nothing, and changes are followed as before."""
    old = recommender.newsroom.articles(30, published_ms=NOW_MS - 2 * HOUR_MS)
    young = recommender.newsroom.articles(5, published_ms=NOW_MS - MINUTE_MS, apart_ms=1)
    recommender.catalogue.refresh()
    first = ids_of(recommender.ask())
    recommender.clock.advance(-HOUR_MS)

    second = recommender.ask()
    assert len(ids_of(second)) == 10
    assert not {*ids_of(second)} & {*first, *young}
    assert ids_of(recommender.ask(second.time_stamp)) == [id_ for id_ in first if id_ in old]
    gone = next(id_ for id_ in old if id_ not in {*first, *ids_of(second)})
    recommender.newsroom.change(gone, status="taken_down")
    recommender.catalogue.refresh()
    assert gone not in ids_of(recommender.ask(article_num=100))
    recommender.clock.advance(HOUR_MS + 2 * SECOND_MS)
    assert {*young} <= {*ids_of(recommender.ask(user_id=8, article_num=100))}
