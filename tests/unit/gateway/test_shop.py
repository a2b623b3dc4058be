"""The routes of paid editions, as the gateway puts them together."""

from __future__ import annotations

import pytest
from redis import Redis
from sqlalchemy import Engine

from gateway.shop import NoProvider, make_shop_routes
from tests.conftest import MakeSettings
from tests.unit.gateway.doors import KEYS, make_door
from tidings.shop.payments import Charge, ProviderUnavailableError


def test_every_route_is_described(
    engine: Engine, dead_redis: Redis, make_settings: MakeSettings
) -> None:
    routes = make_shop_routes(make_settings(), engine, KEYS)
    door = make_door(engine, dead_redis, more_routes=routes)

    assert set(routes) <= set(door.client.simulate_get("/openapi.json").json["paths"])
    assert door.client.simulate_get("/products").json == {"results": [], "next": None}


def test_an_order_that_is_not_there_is_a_problem(
    engine: Engine, dead_redis: Redis, make_settings: MakeSettings
) -> None:
    door = make_door(
        engine, dead_redis, more_routes=make_shop_routes(make_settings(), engine, KEYS)
    )

    answer = door.get("/orders/5")

    assert (answer.status_code, answer.json["type"]) == (404, "/docs#unknown-order")


def test_a_site_without_a_provider_says_so() -> None:
    with pytest.raises(ProviderUnavailableError, match="no payment provider"):
        NoProvider().start(Charge(1, 1, 100, "EUR"))
