"""A gateway on SQLite, with a Redis that is not there: what must work even then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.unit.gateway.doors import Door, make_door
from tidings.store.redis import make_redis


@pytest.fixture
def dead_redis(make_settings: MakeSettings) -> Iterator[Redis]:
    """A client of a Redis that is not there."""
    with make_redis(make_settings().redis) as redis:
        yield redis


@pytest.fixture
def door(engine: Engine, dead_redis: Redis) -> Door:
    """A gateway whose reader is READER_ID, with no channel and no article yet."""
    return make_door(engine, dead_redis)
