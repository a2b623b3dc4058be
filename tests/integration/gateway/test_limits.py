"""How much one reader and one address get, on real Redis: told before it is used up, refused after,
and never at the cost of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from falcon import testing
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.lab.newsroom import SECOND_MS
from tests.lab.servers import wait_until
from tests.unit.gateway.doors import READER_ID, WINDOW_S, Door, make_door
from tidings.http.limits import LimitClass, Quotas, make_quotas
from tidings.http.reader_id import COOKIE
from tidings.readers.keys import Role, add_key
from tidings.store.engine import transaction
from tidings.store.keys import READER

DEADLINE_S = 30
HERE, THERE = "192.0.2.1", "192.0.2.2"
QUOTAS = Quotas(
    of_reader={
        LimitClass.FEED: 3,
        LimitClass.REPORT: 2,
        LimitClass.WRITE: 2,
        LimitClass.ORDER: 1,
        LimitClass.SIGN_IN: 2,
    },
    address_times=2,
    key_times=1,
    new_readers=2,
)
# A List of Items whose values are Strings, of RFC 9651, as far as the draft uses it.
ITEM = re.compile(r'"(?P<name>[a-z-]+)"(?P<parameters>(?:;[a-z]+=[0-9]+)*)')


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def door(engine: Engine, redis_client: Redis) -> Door:
    door = make_door(engine, redis_client, quotas=QUOTAS)
    door.newsroom.channels(1, 2)
    door.recommends(door.newsroom.articles(4))
    return door


def get(
    door: Door, path: str = "/articles", *, reader: int | None = READER_ID, address: str = HERE
) -> testing.Result:
    headers = {} if reader is None else {"X-Reader": door.signer.sign(reader)}
    return door.client.simulate_get(path, headers=headers, remote_addr=address)


def send(
    door: Door, method: str, path: str, *, reader: int | None = READER_ID, address: str = HERE
) -> testing.Result:
    headers = {} if reader is None else {"X-Reader": door.signer.sign(reader)}
    return door.client.simulate_request(method, path, headers=headers, remote_addr=address)


def items(headers: Mapping[str, str], name: str) -> dict[str, dict[str, int]]:
    found = {}
    for text in headers[name].split(", "):
        item = ITEM.fullmatch(text)
        assert item, headers[name]
        pairs = [pair.split("=") for pair in item["parameters"].split(";")[1:]]
        found[item["name"]] = {key: int(value) for key, value in pairs}
    return found


def test_an_answer_tells_the_quotas_and_what_is_left_of_the_one_that_ends_first(
    door: Door,
) -> None:
    answer = get(door)

    assert items(answer.headers, "RateLimit-Policy") == {
        "reader": {"q": 3, "w": WINDOW_S},
        "address": {"q": 6, "w": WINDOW_S},
    }
    (told,) = items(answer.headers, "RateLimit").items()
    assert told[0] == "reader"
    assert told[1]["r"] == 2
    assert 0 < told[1]["t"] <= WINDOW_S * 7 / 6


def test_one_too_many_is_a_problem_that_says_when_to_come_back_and_then_it_is_served(
    door: Door,
) -> None:
    assert [get(door).status_code for _ in range(3)] == [200] * 3

    refused = get(door)

    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json["type"] == "/docs#quota-exceeded"
    assert refused.json["request_id"] == refused.headers["X-Request-Id"]
    left = items(refused.headers, "RateLimit")["reader"]
    assert left["r"] == 0
    assert int(refused.headers["Retry-After"]) == left["t"] > 0
    door.clock.advance((left["t"] - 1) * SECOND_MS - 999)
    assert get(door).status_code == 429
    door.clock.advance(SECOND_MS + 999)
    assert get(door).status_code == 200


def test_a_reader_who_used_up_their_quota_holds_up_no_other_behind_the_address(
    door: Door,
) -> None:
    for _ in range(10):
        get(door)

    assert get(door, reader=READER_ID + 1).status_code == 200


def test_an_address_has_a_quota_of_its_own_however_many_readers_it_shows(door: Door) -> None:
    told = [get(door, reader=READER_ID + number).status_code for number in range(8)]

    assert told == [200] * 6 + [429] * 2
    refused = get(door, reader=READER_ID + 9)
    assert items(refused.headers, "RateLimit") == {
        "address": {"r": 0, "t": int(refused.headers["Retry-After"])}
    }
    assert get(door, reader=READER_ID + 9, address=THERE).status_code == 200


def test_an_ipv6_network_is_one_address_and_an_ipv4_address_is_one_in_both_spellings(
    door: Door,
) -> None:
    inside = [f"2001:db8:0:1::{number:x}" for number in range(1, 8)]
    told = [
        get(door, reader=READER_ID + n, address=one).status_code for n, one in enumerate(inside)
    ]
    spelt = [HERE, f"::ffff:{HERE}"] * 3 + [HERE]

    assert told == [200] * 6 + [429]
    assert get(door, address="2001:db8:0:2::1").status_code == 200
    told = [
        get(door, reader=READER_ID + 100 + n, address=one).status_code
        for n, one in enumerate(spelt)
    ]
    assert told == [200] * 6 + [429]


def test_each_class_of_work_is_counted_by_itself(door: Door) -> None:
    for _ in range(4):
        get(door)

    assert send(door, "PUT", "/articles/1/liking").status_code == 204
    assert send(door, "DELETE", "/articles/1/liking").status_code == 204
    assert send(door, "PUT", "/articles/1/collect").status_code == 429
    assert door.report([{"track": "x"}]).status_code == 202
    assert send(door, "DELETE", "/orders/7").status_code == 404
    assert send(door, "DELETE", "/orders/7").status_code == 429


def test_what_has_no_class_is_never_refused(door: Door) -> None:
    for path in ("/articles/1", "/channels", "/health/live", "/openapi.json"):
        assert [get(door, path, reader=None).status_code for _ in range(9)] == [200] * 9


def test_limits_that_are_0_count_nothing(engine: Engine, redis_client: Redis) -> None:
    door = make_door(engine, redis_client)
    door.newsroom.channels(1)

    assert [get(door, reader=None).status_code for _ in range(30)] == [200] * 30
    assert redis_client.keys("t1:{limits}*") == []


def test_beyond_its_budget_an_address_is_served_feeds_and_given_no_more_ids(
    door: Door, redis_client: Redis
) -> None:
    answers = [get(door, reader=None) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert ["X-Reader" in answer.headers for answer in answers] == [True] * 2 + [False] * 4
    assert [COOKIE in answer.cookies for answer in answers] == [True] * 2 + [False] * 4
    served_from = [answer.json["served_from"] for answer in answers]
    assert served_from == ["personal"] * 2 + ["latest"] * 4
    nobodys = answers[-1].json
    assert len(nobodys["results"]) == 4
    assert {token for card in nobodys["results"] for token in card["track"].values()} == {""}
    assert (nobodys["exposure"], nobodys["pre_timestamp"]) == ("", 0)
    assert len(redis_client.keys("t2:*:reader")) == 2
    assert "X-Reader" in get(door, reader=None, address=THERE).headers


@pytest.mark.parametrize("address_times", [0, 2])
@pytest.mark.parametrize("path", ["/articles", "/"])
def test_the_budget_of_new_readers_is_told_where_it_ends_first(
    engine: Engine, redis_client: Redis, path: str, address_times: int
) -> None:
    """Or the next request that needs a reader would be refused out of the blue."""
    quotas = replace(QUOTAS, address_times=address_times)
    door = make_door(engine, redis_client, quotas=quotas)
    door.newsroom.channels(1)

    answers = [get(door, path, reader=None) for _ in range(3)]

    told = [items(answer.headers, "RateLimit") for answer in answers]
    assert [[*one] for one in told] == [["new-readers"]] * 3
    assert [one["new-readers"]["r"] for one in told] == [1, 0, 0]
    policies = items(answers[0].headers, "RateLimit-Policy")
    assert policies["new-readers"] == {"q": 2, "w": WINDOW_S}
    assert ("address" in policies) == (path == "/articles" and address_times > 0)


def test_the_largest_quotas_there_may_be_are_told_as_they_are(
    engine: Engine, redis_client: Redis, make_settings: MakeSettings
) -> None:
    most = 1_000_000
    settings = make_settings(gateway_limit_feed=most, gateway_limit_address_times=most)
    door = make_door(engine, redis_client, quotas=make_quotas(settings))
    door.newsroom.channels(1)

    answer = get(door)

    assert items(answer.headers, "RateLimit")["reader"]["r"] == most - 1
    assert items(answer.headers, "RateLimit-Policy")["address"]["q"] == most * most


def test_a_reader_who_is_known_needs_no_budget(door: Door) -> None:
    for _ in range(3):
        get(door, "/", reader=None)

    answer = get(door)

    assert (answer.status_code, answer.json["served_from"]) == (200, "personal")


def test_beyond_the_budget_a_page_comes_without_a_cookie_and_what_needs_a_reader_is_refused(
    door: Door, redis_client: Redis
) -> None:
    pages = [get(door, "/", reader=None) for _ in range(3)]

    assert [page.status_code for page in pages] == [200] * 3
    assert [COOKIE in page.cookies for page in pages] == [True, True, False]
    for method, path in (
        ("PUT", "/articles/1/liking"),
        ("GET", "/reader/likings"),
        ("POST", "/orders"),
    ):
        refused = send(door, method, path, reader=None)
        assert refused.status_code == 429, path
        assert items(refused.headers, "RateLimit")["new-readers"]["r"] == 0
        assert int(refused.headers["Retry-After"]) > 0
        assert COOKIE not in refused.cookies
    assert redis_client.keys(READER.of(0).replace("0", "*")) == []


def test_one_request_asks_redis_once_for_all_of_its_limits(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    execute: Any = Redis.execute_command

    def spy(client: Redis, *args: Any, **options: Any) -> Any:
        if "EVAL" in str(args[0]):
            asked.append(args[0])
        return execute(client, *args, **options)

    get(door, "/articles/1/similar", reader=None)
    monkeypatch.setattr(Redis, "execute_command", spy)
    get(door, "/", reader=None)
    assert len(asked) == 1
    get(door, "/reader/likings")
    assert len(asked) == 2
    get(door, "/articles/1/similar")
    assert len(asked) == 3


def test_a_key_has_a_quota_of_its_own_in_place_of_its_readers(door: Door) -> None:
    one, other = door.make_key(name="one"), door.make_key(name="other")

    def ask(headers: Mapping[str, str]) -> testing.Result:
        return door.client.simulate_get("/articles", headers=dict(headers), remote_addr=HERE)

    answers = [ask(one) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 3 + [429]
    assert items(answers[0].headers, "RateLimit-Policy") == {"key": {"q": 3, "w": WINDOW_S}}
    assert items(answers[-1].headers, "RateLimit")["key"]["r"] == 0
    assert [ask(other).status_code for _ in range(3)] == [200] * 3
    assert get(door).status_code == 200, "what keys do is no other caller's of the address"


def test_a_key_that_was_made_with_a_limit_has_that_for_everything(door: Door) -> None:
    with transaction(door.newsroom.engine) as conn:
        secret = add_key(conn, "importer", Role.READER, quota=5).secret
    headers = {"Authorization": f"Bearer {secret}"}

    # Also what nothing else is counted for.
    asked = [("GET", "/articles"), ("PUT", "/articles/1/liking"), ("GET", "/channels")] * 2
    told = [
        door.client.simulate_request(method, path, headers=headers, remote_addr=HERE)
        for method, path in asked
    ]

    assert [answer.status_code for answer in told] == [200, 204, 200, 200, 204, 429]
    assert items(told[0].headers, "RateLimit")["key"]["r"] == 4


def test_keys_that_cannot_be_told_count_for_their_address_but_for_those_that_were_good(
    door: Door,
) -> None:
    """Or invented keys would be free for as long as the database is away."""
    good = door.make_key()

    def ask(headers: Mapping[str, str]) -> testing.Result:
        return door.client.simulate_get("/channels", headers=dict(headers), remote_addr=HERE)

    assert ask(good).status_code == 200
    with transaction(door.newsroom.engine) as conn:
        conn.exec_driver_sql("ALTER TABLE api_key RENAME TO hidden")
    wait_until(lambda: ask(good).status_code == 503, DEADLINE_S, "what is remembered to end")

    guesses = [ask({"Authorization": f"Bearer tk_{n:012x}_{'A' * 43}"}) for n in range(3)]

    assert [answer.status_code for answer in guesses] == [503, 503, 429]
    assert [ask(good).status_code for _ in range(5)] == [503] * 5
    with transaction(door.newsroom.engine) as conn:
        conn.exec_driver_sql("ALTER TABLE hidden RENAME TO api_key")
    wait_until(lambda: ask(good).status_code == 200, DEADLINE_S, "the next try")


def test_an_address_that_tries_keys_is_slowed_down_and_good_keys_are_not(door: Door) -> None:
    """Also on routes without a class, which nothing else limits."""
    good = door.make_key()

    def ask(headers: Mapping[str, str], address: str = HERE) -> testing.Result:
        return door.client.simulate_get("/channels", headers=dict(headers), remote_addr=address)

    def guess(number: int, address: str = HERE) -> testing.Result:
        return ask({"Authorization": f"Bearer tk_{number:012x}_{'A' * 43}"}, address)

    answers = [guess(number) for number in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    told = items(answers[-1].headers, "RateLimit")["sign-in"]
    assert int(answers[-1].headers["Retry-After"]) == told["t"] > 0
    assert ask(good).status_code == 200
    assert get(door).status_code == 200
    assert guess(9, THERE).status_code == 401
    door.clock.advance(told["t"] * SECOND_MS)
    assert guess(10).status_code == 401
