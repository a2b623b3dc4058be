"""A gateway whose recommender is a real one, behind Thrift: what travels through both.

with open_whole(settings, engine, redis, quotas=UNLIMITED) as whole:
    whole.door.get("/articles")
    whole.recommender.ask()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from redis import Redis
from sqlalchemy import Engine

from tests.integration.recommender.serving import Recommender, serve
from tests.unit.gateway.doors import UNLIMITED, Door, make_door
from tidings.http.limits import Quotas
from tidings.process.settings import Settings


@dataclass
class Whole:
    """Both, on one database, one Redis and one clock."""

    door: Door
    recommender: Recommender


@contextmanager
def open_whole(
    settings: Settings, engine: Engine, redis: Redis, *, quotas: Quotas = UNLIMITED
) -> Iterator[Whole]:
    """They serve inside the block. The catalogue is as fresh as its last `refresh()`."""
    door = make_door(engine, redis, quotas=quotas)
    with serve(settings, engine, redis, door.clock) as recommender:
        keys = recommender.tracker._keys
        with (
            mock.patch.object(door.recommending, "_recommender", recommender.client),
            mock.patch.object(door.tracker, "_keys", keys),
        ):
            yield Whole(door, recommender)
