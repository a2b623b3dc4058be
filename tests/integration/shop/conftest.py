"""A shop with full shelves, and gateways in front of it as readers and providers reach them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.delayed.batches import Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.errands import Errand
from jobs.handlers import Handler
from tests.conftest import MakeSettings
from tests.lab.buyers import Shopfront, Till
from tests.lab.shelf import Shop
from tidings.store.engine import make_engine
from tidings.store.redis import make_redis

OpenShopfront = Callable[..., Shopfront]
MakeBatches = Callable[[Mapping[str, Handler | Errand]], Batches]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def open_shopfront(
    shop: Shop, database_url: str, make_settings: MakeSettings, till: Till
) -> Iterator[OpenShopfront]:
    """Each call is a gateway with connections of its own, on the database of `shop`."""
    with ExitStack() as stack:
        settings = make_settings(database_url=database_url, database_pool_size=40)

        def open_one(**options: Any) -> Shopfront:
            engine = make_engine(settings.database)
            stack.callback(engine.dispose)
            redis = stack.enter_context(make_redis(settings.redis))
            return Shopfront(engine, redis, till, **options)

        yield open_one


@pytest.fixture
def front(open_shopfront: OpenShopfront) -> Shopfront:
    """A gateway with room for everybody."""
    return open_shopfront()


@pytest.fixture
def make_batches(shop: Shop) -> MakeBatches:
    """What a daemon runs delayed jobs with, of these kinds."""

    def make(handlers: Mapping[str, Handler | Errand]) -> Batches:
        return Batches(shop.engine, handlers, ClockGuard(), threading.Event())

    return make
