"""A gateway on real Redis, on SQLite and on MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.integration.gateway.raw_http import Wire
from tests.unit.gateway.doors import Door, make_door


@pytest.fixture
def door(engine: Engine, redis_client: Redis) -> Door:
    """A gateway with channels 1 and 2, whose reader is READER_ID."""
    door = make_door(engine, redis_client)
    door.newsroom.channels(1, 2)
    return door


@pytest.fixture
def opened() -> Iterator[Callable[..., list[Wire]]]:
    """Makes so many connections, on each of which something is sent."""
    with ExitStack() as stack:

        def make(
            count: int, address: tuple[str, int], data: bytes = b"", **options: Any
        ) -> list[Wire]:
            return [stack.enter_context(Wire(address, **options)).send(data) for _ in range(count)]

        yield make
