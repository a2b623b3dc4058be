"""A newsroom on both databases with a real Redis, and people who work in it by their roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import redis
from sqlalchemy import Engine

from tests.lab.newsroom import Clock, Newsroom
from tidings.editing import audit
from tidings.editing.acting import Act, Actor, key_actor, perform
from tidings.editing.fields import Fields
from tidings.editing.records import read_article
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.listing import Record
from tidings.process.clock import now_ms
from tidings.readers.keys import Key, Role

T = TypeVar("T")
ROLES = {"ottoline": Role.AUTHOR, "basil": Role.AUTHOR, "edith": Role.EDITOR, "opal": Role.OPERATOR}
KEYS = {
    name: Key(key_id=number, name=name, role=role)
    for number, (name, role) in enumerate(ROLES.items(), start=1)
}


class Desk:
    """`desk.do("edith", articles.publish, 42)`: what one of them does, in its own transaction."""

    def __init__(self, engine: Engine, articles: Articles) -> None:
        self.engine = engine
        self.articles = articles

    def actor(self, who: str) -> Actor:
        return key_actor(KEYS[who])

    def do(self, who: str, verb: Callable[..., T], *args: Any, **options: Any) -> T:
        def work(act: Act) -> T:
            return verb(act, *args, **options)

        return perform(self.engine, self.actor(who), self.articles, work)

    def read(self, article_id: int) -> Record:
        """All that is stored of an article."""
        with self.engine.connect() as conn:
            return read_article(conn, self.actor("edith"), article_id)

    def log(self, **which: Any) -> list[audit.Entry]:
        """The audit log, the oldest entry first."""
        with self.engine.connect() as conn:
            return audit.find_entries(conn, limit=100, **which)[::-1]

    def is_read(self, article_id: int) -> bool:
        """Whether readers get it, card and whole alike."""
        try:
            self.articles.whole(article_id)
        except ArticleNotFoundError:
            assert self.articles.cards([article_id]) == {}
            return False
        assert set(self.articles.cards([article_id])) == {article_id}
        return True


@pytest.fixture
def newsroom(engine: Engine) -> Newsroom:
    room = Newsroom(engine, Clock(now_ms()))
    room.channels(1, 2)
    return room


@pytest.fixture
def desk(newsroom: Newsroom, redis_client: redis.Redis) -> Desk:
    stored = Articles(newsroom.engine, redis_client, card_ttl_s=300, clock=now_ms)
    return Desk(newsroom.engine, stored)


def story(**fields: Any) -> Fields:
    """A whole article; what is not said is plain."""
    plain: dict[str, Any] = {
        "channel_id": 1,
        "title": "High tide",
        "body": "The *harbour* is full.",
    }
    return Fields(**(plain | fields))
