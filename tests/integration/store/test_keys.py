"""What a site at work leaves in Redis, held against the table of keys."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from services.chat.bus import Bus
from services.chat.hub import Hub
from services.chat.presence import PresenceBoard
from services.chat.publisher import Publisher
from services.chat.window import Window
from tests.conftest import MakeSettings
from tests.integration.recommender.serving import serve
from tests.lab.redis_keys import largest, longest_ttl_s, matches
from tests.unit.gateway.doors import KEYS as KEYS_OF_SITE
from tests.unit.gateway.doors import READER_ID, Door, make_door
from tidings.http.limits import make_quotas
from tidings.process.clock import moment
from tidings.process.settings import Settings, describe
from tidings.readers.tickets import Tickets
from tidings.reading import popularity
from tidings.reading.behaviour import fold
from tidings.reading.behaviour_log import LOG
from tidings.store.keys import BEHAVIOUR, HISTORY, KEYS, SEEN, VERSION, Key

SIZES = {
    "string": "strlen",
    "zset": "zcard",
    "stream": "xlen",
    "hash": "memory_usage",
    "list": "llen",
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str, redis_url: str) -> Settings:
    return make_settings(
        database_url=database_url, redis_url=redis_url, history_batches=3, seen_articles=25
    )


@pytest.fixture
def door(
    settings: Settings, engine: Engine, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Door]:
    """A gateway whose recommender is a real one."""
    door = make_door(
        engine,
        redis_client,
        card_ttl_s=settings.gateway.card_ttl_s,
        quotas=make_quotas(settings),
    )
    door.newsroom.channels(1, 2)
    door.newsroom.articles(60)
    with serve(settings, engine, redis_client, door.clock) as recommender:
        monkeypatch.setattr(door.recommending, "_recommender", recommender.client)
        monkeypatch.setattr(door.tracker, "_keys", recommender.tracker._keys)
        yield door


def strays(redis: Redis, settings: Settings) -> dict[str, str]:
    """Key → what is wrong with it, for every key that the table does not allow for."""

    values = {one.name: one.value for one in describe(settings)}

    def setting(name: str) -> int:
        value: int = values[name.lower()]
        return value

    def fault(name: str, row: Key | None) -> str | None:
        if row is None:
            return "in no row"
        kind: Any = redis.type(name)
        if kind.decode() != row.kind:
            return f"is no {row.kind}"
        longest_s = longest_ttl_s(row, setting)
        left_s: Any = redis.ttl(name)
        if longest_s and not 0 <= left_s <= longest_s:
            return f"lives {left_s} s, not at most {longest_s} s"
        size: int = getattr(redis, SIZES[row.kind])(name)
        if size > largest(row, setting):
            return f"has a size of {size}, not at most {largest(row, setting)}"
        return None

    faults = {}
    for raw in redis.scan_iter():
        name = raw.decode()
        rows = [row for row in KEYS if matches(row, name)]
        faults[name] = fault(name, rows[0] if rows else None)
    return {name: reason for name, reason in faults.items() if reason}


def use(door: Door, redis: Redis) -> None:
    """Everything that leaves something in Redis, several times over, on a reader of the release
    before."""
    before = array("q", [1, 2]).tobytes()
    redis.set(SEEN.of(READER_ID), before, ex=100)
    redis.zadd(HISTORY.of(READER_ID, 1), {b"%d:%s" % (5, before): 5})
    redis.set(VERSION.of(READER_ID), 5, ex=100)
    for _ in range(5):
        door.clock.advance(60_000)
        for channel_id in (0, 1):
            feed = door.get(f"/articles?channel_id={channel_id}").json
            assert feed["served_from"] == "personal"
            tokens = [feed["exposure"], *feed["results"][0]["track"].values()]
            results = door.report([{"track": token} for token in tokens]).json["results"]
            assert [result["verdict"] for result in results] == ["accepted"] * 6
    assert door.get("/articles/1").status_code == 200
    assert door.get("/articles/999").status_code == 404
    assert door.get("/articles/1/similar", headers=door.make_key()).status_code == 200
    ticket = door.client.simulate_post("/reader/chat-ticket").json["ticket"]
    assert Tickets(KEYS_OF_SITE, redis).admit(ticket).key_id is None
    door.client.simulate_post("/reader/chat-ticket")  # one that was not used
    chat = Hub(Window(most=1, most_bytes=1))
    bus = Bus(redis, chat, most_kept=1, most_kept_bytes=1 << 20)
    bus.read()
    presence = PresenceBoard(redis, chat, Publisher(door.newsroom.engine, bus), node="one")
    presence.watch(READER_ID)
    presence.arrived(READER_ID)
    presence.look()
    bus.close()
    redis.xadd(LOG, {"e": "of another version"})
    while fold(door.newsroom.engine, redis, consumer="one"):
        pass
    redis.xadd(BEHAVIOUR.of(), {"e": "one that waits"})
    popularity.rebuild(door.newsroom.engine, redis, moment(door.clock()))


def test_every_key_of_a_site_at_work_is_in_the_table_with_its_end(
    door: Door, redis_client: Redis, settings: Settings
) -> None:
    use(door, redis_client)

    assert strays(redis_client, settings) == {}
    found = {raw.decode() for raw in redis_client.scan_iter()}
    unused = [row.shape for row in KEYS if not any(matches(row, name) for name in found)]
    assert unused == ["t1:jobs:due"], "a channel keeps nothing"


def test_a_key_that_is_in_no_row_or_breaks_its_row_is_noticed(
    redis_client: Redis, settings: Settings
) -> None:
    redis_client.set("t1:new:7", "?", ex=10)
    redis_client.set("t1:card:7", "?")
    redis_client.zadd("t1:popular:7", {"1": 1})
    redis_client.expire("t1:popular:7", 10**6)
    redis_client.set("t1:{7}:seen", "8 bytes." * 5001, ex=10)
    redis_client.rpush("t1:behaviour", "?")

    assert strays(redis_client, settings) == {
        "t1:new:7": "in no row",
        "t1:card:7": f"lives -1 s, not at most {settings.gateway.card_ttl_s * 1.1} s",
        "t1:popular:7": "lives 1000000 s, not at most 86400.0 s",
        "t1:{7}:seen": "has a size of 40008, not at most 40000",
        "t1:behaviour": "is no stream",
    }
