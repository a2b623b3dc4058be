"""What the tests of reported behaviour share: tokens, reports, and a process that dies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock
from tidings.reading import behaviour_log
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours, fold
from tidings.reading.noting import ReaderNotes
from tidings.reading.tracking import Shown, Tracker
from tidings.store.keys import BEHAVIOUR_WAITING

KEY, NEW_KEY = b"k" * 32, b"n" * 32
STAMP_MS = NOW_MS - HOUR_MS
READER, CHANNEL = 7, 1


class LosesItsAnswer(redis.Redis):
    """A real client whose process dies between the commit in SQL and the acknowledgement in
    Redis."""

    def register_script(self, script: Any) -> Any:
        def die(**_: object) -> None:
            raise redis.ConnectionError("the process died here")

        return die if "XACK" in script else super().register_script(script)


def make_behaviours(
    client: redis.Redis, tracker: Tracker, clock: Clock, backlog_limit: int = 1000
) -> Behaviours:
    notes = ReaderNotes(ttl_s=3600)
    return Behaviours(client, tracker, notes, backlog_limit=backlog_limit, clock=clock)


def waiting(client: redis.Redis) -> int:
    """Events that SQL does not have yet, as the log counts them."""
    return int(client.get(BEHAVIOUR_WAITING.of()) or 0)


def issue(
    tracker: Tracker, action: Action, article_id: int = 0, position: int = 0, **changes: Any
) -> str:
    """A token as the recommender issues it."""
    shown = Shown(action, READER, CHANNEL, STAMP_MS, article_id, position)
    return tracker.issue(replace(shown, **changes), NOW_MS - HOUR_MS)


def fold_all(engine: Engine, client: redis.Redis, consumer: str = "test") -> int:
    """Fold until nothing waits, and return how many entries there were."""
    total = 0
    while done := fold(engine, client, consumer=consumer):
        total += done
    return total


def forget_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take over what other consumers left behind at once, instead of after 30 s."""
    monkeypatch.setattr(behaviour_log, "CLAIM_AFTER_MS", 0)
