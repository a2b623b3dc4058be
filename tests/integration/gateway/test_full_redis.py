"""Strangers without an id against a Redis that is 8 MB from full: they fill it no more, and readers
go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.integration.gateway.whole import Whole, open_whole
from tests.lab.servers import start_redis
from tidings.http.limits import Quotas, make_quotas
from tidings.process.settings import read_settings
from tidings.store.keys import FIRST_VISIT_S, LIMITS_OF_ADDRESS

FROM_FULL = 8 * 2**20
STRANGER, STRANGER_NUMBER = "203.0.113.9", 203 << 24 | 113 << 8 | 9
REQUESTS = 900  # 814 of them filled it before
# By the settings' defaults, but for what an address may ask, which ends a flood sooner.
QUOTAS = make_quotas(read_settings(None))
NO_END = Quotas(of_reader={}, key_times=0, address_times=0, new_readers=QUOTAS.new_readers)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def whole(make_settings: MakeSettings, engine: Engine, database_url: str) -> Iterator[Whole]:
    with start_redis() as server, Redis.from_url(server.url) as redis:
        settings = make_settings(database_url=database_url, redis_url=server.url)
        with open_whole(settings, engine, redis, quotas=NO_END) as whole:
            whole.door.newsroom.channels(1)
            whole.door.newsroom.articles(150)
            whole.recommender.catalogue.refresh()
            yield whole


def use(whole: Whole) -> tuple[str, str]:
    """What a reader is served, and what becomes of their report."""
    page = whole.door.get("/articles?article_num=3").json
    answer = whole.door.report([{"track": page["results"][0]["track"]["click"]}])
    assert answer.status_code == 202
    return page["served_from"], answer.json["results"][0]["verdict"]


def test_a_flood_of_requests_without_an_id_does_not_fill_redis_and_readers_go_on(
    whole: Whole,
) -> None:
    redis: Any = whole.door.redis
    assert use(whole) == ("personal", "accepted")
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", used + FROM_FULL)

    statuses, given, steps = set(), 0, set()
    for _ in range(REQUESTS):
        answer = whole.door.client.simulate_get("/articles?article_num=100", remote_addr=STRANGER)
        statuses.add(answer.status_code)
        if "X-Reader" in answer.headers:
            given += 1
            # It would end by Redis's clock, while that of the door stands still.
            redis.persist(LIMITS_OF_ADDRESS.of(STRANGER_NUMBER))
        steps.add(answer.json["served_from"])

    assert statuses == {200}
    assert given == QUOTAS.new_readers
    assert steps == {"personal", "latest"}
    assert redis.info("memory")["used_memory"] - used < FROM_FULL / 8
    assert use(whole) == ("personal", "accepted")
    of_strangers = [key for key in redis.scan_iter("t2:*:reader") if redis.hexists(key, "first")]
    assert len(of_strangers) == given
    assert all(0 < redis.ttl(key) <= FIRST_VISIT_S for key in of_strangers)
