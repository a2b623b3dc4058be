"""A recommender whose catalogue falls behind says so to those who choose where calls go; one that
waits for Redis lets the others through."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.recommender.catalogue.following import STALE_AFTER_S
from tests.integration.recommender.serving import PATIENCE_S, READER, Recommender, ids_of
from tidings.reading.history import History
from tidings.reading.reader_state import ReaderState


def test_a_recommender_with_an_old_catalogue_is_not_ready_and_serves_on(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: the catalogue's thread was dead, take-downs were never seen, and readiness said 200."""
    id_ = recommender.newsroom.article()
    recommender.catalogue.refresh()
    assert recommender.server.is_ready()
    refreshed_s = time.monotonic()
    monkeypatch.setattr(
        "services.recommender.catalogue.following.time.monotonic",
        lambda: refreshed_s + STALE_AFTER_S + 1,
    )

    assert not recommender.server.is_ready()
    monkeypatch.undo()
    assert recommender.server.is_ready()
    assert ids_of(recommender.ask()) == [id_]


def test_one_readers_slow_redis_holds_no_other(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: a channel's ranking was read from Redis under a lock, so that one slow read held every
    feed of the channel. Now all that is shared is in memory, and no lock is held around Redis."""
    id_ = recommender.newsroom.article()
    recommender.catalogue.refresh()
    entered, release = threading.Event(), threading.Event()
    read = History.read

    def slow(history: History, reader_id: int) -> ReaderState:
        if reader_id == READER:
            entered.set()
            release.wait(PATIENCE_S)
        return read(history, reader_id)

    monkeypatch.setattr(History, "read", slow)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(recommender.ask)
        assert entered.wait(PATIENCE_S)
        try:
            assert ids_of(recommender.ask(user_id=READER + 1)) == [id_]
            assert not held.done()
        finally:
            release.set()
        assert ids_of(held.result(PATIENCE_S)) == [id_]
