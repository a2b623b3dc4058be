"""The chat over HTTP on both databases; with a Redis that is not there, nothing is limited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.lab.chat_rest import ChatRest, Reader, make_chat_rest
from tidings.store.redis import make_redis


@pytest.fixture
def dead_redis(make_settings: MakeSettings) -> Iterator[Redis]:
    """A client of a Redis that is not there."""
    with make_redis(make_settings().redis) as redis:
        yield redis


@pytest.fixture
def chat(engine: Engine, dead_redis: Redis) -> ChatRest:
    return make_chat_rest(engine, dead_redis)


@pytest.fixture(params=["cookie", "key"])
def ann(chat: ChatRest, request: pytest.FixtureRequest) -> Reader:
    """A caller of either kind: each test that asks for it runs for both."""
    return chat.caller(request.param, "ann")


@pytest.fixture
def ben(chat: ChatRest) -> Reader:
    return chat.visitor()


@pytest.fixture
def cleo(chat: ChatRest) -> Reader:
    return chat.program(name="cleo")


@pytest.fixture
def stranger(chat: ChatRest) -> Reader:
    """A reader who is in no conversation."""
    return chat.visitor()
