"""A recommender whose catalogue falls behind says so to those who choose where calls go."""

from __future__ import annotations

import time

import pytest

from services.recommender.catalogue.following import STALE_AFTER_S
from tests.integration.recommender.serving import Recommender, ids_of


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
