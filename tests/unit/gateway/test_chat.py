"""Where the chat is, as the gateway tells a page: in its content policy, and with a ticket."""

from __future__ import annotations

from typing import Any

import pytest
from falcon import testing
from redis import Redis
from sqlalchemy import Engine

from gateway.resources.chat import ChatAddress
from tests.conftest import MakeSettings
from tests.unit.gateway.doors import CHAT, Door, make_door
from tidings.process.errors import SettingsError

BEHIND_PROXY = ChatAddress(url="https://chat.example:444", port=8001, site="news.example")
AT_SOCKET = ChatAddress(url="", port=None, site="news.example:81")


def told(engine: Engine, redis: Redis, chat: ChatAddress, **request: Any) -> str:
    """The chat's origin in the page's content policy."""
    answer = make_door(engine, redis, chat=chat).client.simulate_get("/", **request)
    (rule,) = [
        rule.split()
        for rule in answer.headers["Content-Security-Policy"].split("; ")
        if rule.startswith("connect-src")
    ]
    assert rule[:2] == ["connect-src", "'self'"]
    origin, sockets = rule[2:]
    assert sockets == origin.replace("http", "ws", 1)
    return origin


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8001"),
        ("localhost:8000", "http://localhost:8001"),
        ("LOCALHOST:8000", "http://localhost:8001"),
        ("my_machine:8000", "http://my_machine:8001"),
        ("news.example", "http://news.example:8001"),
        ("[::1]:8000", "http://[::1]:8001"),
        ("[::1]", "http://[::1]:8001"),
    ],
)
def test_without_a_proxy_the_chat_is_at_its_own_port_of_the_host_that_the_page_came_to(
    engine: Engine, dead_redis: Redis, host: str, origin: str
) -> None:
    assert told(engine, dead_redis, CHAT, headers={"Host": host}) == origin


def test_over_https_the_chat_is_behind_the_proxy_of_the_page(
    engine: Engine, dead_redis: Redis
) -> None:
    """A page that came over HTTPS may open no plain socket."""
    origin = told(engine, dead_redis, CHAT, host="desk.example", port=8443, protocol="https")

    assert origin == "https://desk.example:8443"


def test_a_chat_at_a_unix_socket_is_behind_the_proxy_of_the_page(
    engine: Engine, dead_redis: Redis
) -> None:
    origin = told(engine, dead_redis, AT_SOCKET, headers={"Host": "desk.example:8080"})

    assert origin == "http://desk.example:8080"


def test_an_operator_says_where_it_is(engine: Engine, dead_redis: Redis) -> None:
    assert told(engine, dead_redis, BEHIND_PROXY) == "https://chat.example:444"


@pytest.mark.parametrize(
    "host", ["a;script-src *", "a b", "a, b", "", "a:1:2", "a:b", "[::1", "*", "'self'"]
)
def test_no_name_that_a_client_makes_up_changes_the_policy(
    engine: Engine, dead_redis: Redis, host: str
) -> None:
    assert told(engine, dead_redis, CHAT, headers={"Host": host}) == "http://news.example:8001"


@pytest.mark.parametrize(
    "url", ["ws://chat.example", "https://chat.example/", "chat.example", "https://Chat.example"]
)
def test_what_is_no_origin_is_refused_as_the_address_of_the_chat(
    make_settings: MakeSettings, url: str
) -> None:
    with pytest.raises(SettingsError, match="TIDINGS_CHAT_URL: expected https://host"):
        make_settings(chat_url=url)


def test_the_address_is_that_of_the_settings(make_settings: MakeSettings) -> None:
    settings = make_settings(chat_bind="127.0.0.1:8765", site_url="https://news.example")

    assert ChatAddress.of(settings) == ChatAddress("", port=8765, site="news.example")
    assert ChatAddress.of(make_settings(chat_bind="unix:/run/chat")).port is None


def test_without_redis_there_is_no_ticket_and_the_caller_may_ask_again(door: Door) -> None:
    answer: testing.Result = door.client.simulate_post("/reader/chat-ticket")

    assert (answer.status_code, answer.json["type"]) == (503, "/docs#store-unavailable")
    assert answer.headers["Retry-After"] == "2"
