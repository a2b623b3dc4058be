"""A node behind its sockets, without them: what a crowd that joins leaves for all others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Engine, event

from services.chat import talking as talking_module
from services.chat.parts import Parts
from services.chat.talking import COUNTED_AT_ONCE
from tests.unit.chat.listeners import Recorder
from tidings.talk.marks import count_unread


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def join(parts: Parts, reader_id: int, pos: str | None = None) -> Recorder:
    socket = Recorder(reader_id)
    parts.talk.join(socket, pos, [])
    return socket


def test_one_who_joins_while_many_are_counted_for_is_welcome_without_the_counts(
    parts: Parts,
) -> None:
    """A crowd that took all connections would keep every message from being stored."""
    is_counting, may_go_on = threading.Semaphore(0), threading.Event()

    def count_slowly(conn: Any, reader_id: int) -> Any:
        is_counting.release()
        assert may_go_on.wait(30)
        return count_unread(conn, reader_id)

    with (
        mock.patch.object(talking_module, "count_unread", count_slowly),
        mock.patch.object(talking_module, "COUNTED_WITHIN_MS", 60_000),
        ThreadPoolExecutor(COUNTED_AT_ONCE) as pool,
    ):
        crowd = [pool.submit(join, parts, reader) for reader in range(COUNTED_AT_ONCE)]
        for _ in crowd:
            assert is_counting.acquire(timeout=30)
        with mock.patch.object(talking_module, "COUNTED_WITHIN_MS", 1):
            late = join(parts, 7)
        may_go_on.set()
        first = crowd[0].result()

    assert "unread" not in late.told[0]
    assert first.told[0]["unread"] == {"conversations": 0, "notices": 0}


def test_a_crowd_that_comes_back_asks_the_database_nothing(parts: Parts, engine: Engine) -> None:
    pos = join(parts, 7).told[0]["pos"]
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    for reader_id in range(100):
        assert join(parts, reader_id, pos).told[0]["recovered"]

    assert asked == []
