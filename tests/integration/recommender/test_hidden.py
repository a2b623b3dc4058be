"""What a reader hid stays hidden: in the next feed, and after Redis forgot the reader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.integration.recommender.serving import READER, Recommender, serve
from tests.lab.newsroom import SECOND_MS, Clock
from tidings.process.settings import Settings
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours, fold
from tidings.reading.events import Target
from tidings.reading.noting import ReaderNotes


@pytest.fixture
def recommender(settings: Settings, engine: Engine, redis_client: Redis) -> Iterator[Recommender]:
    with serve(settings, engine, redis_client, Clock()) as recommender:
        newsroom = recommender.newsroom
        newsroom.channels(1, 2)
        newsroom.authors(5)
        newsroom.articles(12, channel_id=1)
        newsroom.articles(12, channel_id=2, author_id=5)
        recommender.catalogue.refresh()
        yield recommender


@pytest.mark.parametrize(("target", "id_"), [(Target.AUTHOR, 5), (Target.CHANNEL, 2)])
def test_what_is_hidden_is_in_no_feed_before_and_after_redis_was_lost(
    recommender: Recommender, engine: Engine, redis_client: Redis, target: Target, id_: int
) -> None:
    """At once out of the reader's own state, and read once out of SQL when that is gone; what is
    shown again comes again."""
    behaviours = Behaviours(
        redis_client,
        recommender.tracker,
        ReaderNotes(ttl_s=3600),
        backlog_limit=1000,
        clock=recommender.clock,
    )
    hidden = set(range(13, 25))

    def shown() -> set[int]:
        recommender.clock.advance(SECOND_MS)
        return {article.article_id for article in recommender.ask(article_num=24).recommends}

    behaviours.set_mark(READER, Action.DISLIKE, target, id_)
    assert shown() == set(range(1, 13))

    while fold(engine, redis_client, consumer="test"):
        pass
    redis_client.flushall()
    assert shown() == set(range(1, 13))
    assert not shown() & hidden

    behaviours.set_mark(READER, Action.DISLIKE, target, id_, undone=True)
    assert shown() & hidden
