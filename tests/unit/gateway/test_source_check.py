"""An operator asks what would come in from an address, of a server that really answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from redis import Redis
from sqlalchemy import Engine

from tests.lab.web import Web, serve_web
from tests.unit.gateway.doors import Door, make_door
from tests.unit.gateway.test_bad_input import problem
from tidings.importing.addresses import FetchRules
from tidings.importing.visiting import Checked, check
from tidings.readers.keys import Role

FEED = """<rss version="2.0"><channel><title>Sea</title>
<item><title>High tide</title><link>https://sea.example.org/1</link>
<description>The harbour is full.</description></item></channel></rss>"""


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as served:
        yield served


def open_door(engine: Engine, redis: Redis, folder: Path, *, rules: FetchRules) -> Door:
    def check_source(address: str, deadline_s: float) -> Checked:
        return check(address, folder=folder, rules=rules, deadline_s=deadline_s)

    return make_door(engine, redis, check_source=check_source, deadline_ms=20_000)


@pytest.fixture
def door(engine: Engine, dead_redis: Redis, tmp_path: Path) -> Door:
    """A gateway that may ask this machine."""
    return open_door(engine, dead_redis, tmp_path, rules=FetchRules(private_addresses=True))


def ask(door: Door, address: Any) -> testing.Result:
    headers = door.make_key(Role.OPERATOR, f"desk-{id(address)}")
    return door.client.simulate_post("/sources/check", headers=headers, json={"address": address})


def test_what_would_come_in_is_told_and_nothing_is_stored(door: Door, web: Web) -> None:
    moved = web.redirect("/old", web.serve("/feed", FEED, "application/rss+xml"))

    answer = ask(door, moved)

    assert answer.status_code == 200, answer.text
    assert (answer.json["url"], answer.json["title"], answer.json["entries"]) == (
        web.url("/feed"), "Sea", 1
    )  # fmt: skip
    assert [entry["title"] for entry in answer.json["articles"]] == ["High tide"]
    assert answer.json["error"] is None
    key = door.make_key(Role.OPERATOR)
    listed = door.client.simulate_get("/operator/articles", headers=key)
    assert listed.json["results"] == []


@pytest.mark.parametrize("body", ["<html><body>Not here</body></html>", "", '{"title": "x"}'])
def test_what_is_no_feed_is_said(door: Door, web: Web, body: str) -> None:
    answer = ask(door, web.serve("/feed", body, "text/html"))

    assert answer.status_code == 200, answer.text
    assert answer.json["error"]
    assert answer.json["articles"] == []


def test_a_server_that_refuses_is_said(door: Door, web: Web) -> None:
    assert "404" in ask(door, web.url("/nowhere")).json["error"]


def test_a_machine_of_the_own_network_is_not_asked(
    engine: Engine, dead_redis: Redis, web: Web, tmp_path: Path
) -> None:
    door = open_door(engine, dead_redis, tmp_path, rules=FetchRules())

    answer = ask(door, web.serve("/feed", FEED))

    assert answer.json["error"]
    assert web.asked == []


@pytest.mark.parametrize("address", ["", 3, None, "x" * 3000])
def test_an_address_is_a_text(door: Door, address: Any) -> None:
    problem(ask(door, address), 422, "invalid-request")
