"""A site with two channels, and what reports come in by."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import Engine

from tests.integration.reading.reporting import (
    KEY,
    make_behaviours,
)
from tests.lab.newsroom import Clock, Newsroom
from tidings.reading.behaviour import Behaviours
from tidings.reading.tracking import Tracker


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker() -> Tracker:
    return Tracker([KEY])


@pytest.fixture
def newsroom(engine: Engine, clock: Clock) -> Newsroom:
    room = Newsroom(engine, clock)
    room.channels(1, 2)
    return room


@pytest.fixture
def behaviours(redis_client: redis.Redis, tracker: Tracker, clock: Clock) -> Behaviours:
    return make_behaviours(redis_client, tracker, clock)
