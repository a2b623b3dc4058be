"""What the recommender's tests share: SQLite, which holds articles as well as any, a real Redis,
and a clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.integration.recommender.serving import Recommender, serve
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.sites import PATIENT
from tidings.process.settings import Settings
from tidings.store.redis import make_redis


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """An SQLite file; the rules that reach into SQL are tested on both databases where they
    live."""
    return sqlite_url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def newsroom(engine: Engine, clock: Clock) -> Newsroom:
    room = Newsroom(engine, clock)
    room.channels(1, 2)
    return room


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str, redis_url: str) -> Settings:
    return make_settings(
        database_url=database_url, redis_url=redis_url, redis_timeout_s=PATIENT["redis_timeout_s"]
    )


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """The client that a recommender uses: every wait of it is bounded."""
    with make_redis(settings.redis) as client:
        yield client


@pytest.fixture
def recommender(
    settings: Settings, newsroom: Newsroom, engine: Engine, redis: Redis, clock: Clock
) -> Iterator[Recommender]:
    with serve(settings, engine, redis, clock) as serving:
        yield serving
