"""A gateway on real Redis, on SQLite and on MariaDB."""

from __future__ import annotations

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.unit.gateway.doors import Door, make_door


@pytest.fixture
def door(engine: Engine, redis_client: Redis) -> Door:
    """A gateway with channels 1 and 2, whose reader is READER_ID."""
    door = make_door(engine, redis_client)
    door.newsroom.channels(1, 2)
    return door
