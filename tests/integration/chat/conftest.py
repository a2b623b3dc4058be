"""The chat over HTTP on both databases, where a Redis that is not there limits nothing; and a node
of its own process that the tests of one module share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from unittest import mock

import pytest
from redis import Redis
from sqlalchemy import Engine

from services.chat import changes as changes_module
from services.chat.parts import Parts, make_parts
from services.chat.sessions import Sessions
from tests.conftest import MakeSettings
from tests.lab.chat import ChatNode, ChatSite, make_chat_site
from tests.lab.chat_rest import ChatRest, Reader, make_chat_rest
from tests.lab.servers import start_redis
from tidings.store.redis import make_redis

_readers = count(2**52)


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


@pytest.fixture
def parts(
    engine: Engine,
    make_settings: MakeSettings,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Parts]:
    """A node that has reached its bus, and has time for what it is asked."""
    monkeypatch.setattr(changes_module, "DONE_WITHIN_MS", 60_000)
    parts = make_parts(
        engine=engine,
        own_engine=engine,
        redis=make_redis(make_settings(redis_url=redis_url, redis_timeout_s=30).redis),
        sessions=Sessions(),
        make_desk=mock.MagicMock(),
        sweep_every_s=60,
    )
    (bus,) = [watched for watched in parts.beside if watched.name == "bus"]
    bus.start()
    while parts.bus.age_s > 1:
        bus.join(0.01)
    yield parts
    bus.stop()
    bus.join(10)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    """A site on SQLite with a Redis that no other test flushes."""
    with start_redis() as redis:
        yield make_chat_site(tmp_path_factory.mktemp("chat"), redis.url)


@pytest.fixture(scope="module")
def node(site: ChatSite) -> Iterator[ChatNode]:
    """A node with the usual settings."""
    with site.start_node() as node:
        yield node


@pytest.fixture
def new_reader() -> Callable[[], int]:
    """An anonymous reader's id, another each time."""
    return lambda: next(_readers)
