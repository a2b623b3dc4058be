"""Paging back past what Redis keeps: what was seen is in SQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.integration.recommender.serving import Recommender, ids_of, serve
from tests.lab.newsroom import SECOND_MS, Clock, Newsroom
from tests.lab.sites import PATIENT
from tidings.process.settings import Settings
from tidings.reading.behaviour import fold
from tidings_idl.recommend.ttypes import Event

KEPT = 3


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str, redis_url: str) -> Settings:
    return make_settings(
        database_url=database_url,
        redis_url=redis_url,
        redis_timeout_s=PATIENT["redis_timeout_s"],
        history_batches=KEPT,
    )


@pytest.fixture
def recommender(
    settings: Settings, newsroom: Newsroom, engine: Engine, redis: Redis, clock: Clock
) -> Iterator[Recommender]:
    with serve(settings, engine, redis, clock) as serving:
        serving.newsroom.articles(150)
        serving.catalogue.refresh()
        yield serving


def show(recommender: Recommender, number: int, channel_id: int = 0) -> list[tuple[int, list[int]]]:
    """Show so many batches and report each as seen; returns their stamps and ids."""
    made = []
    for _ in range(number):
        recommender.clock.advance(2 * SECOND_MS)
        page = recommender.ask(channel_id=channel_id)
        recommender.report(Event(page.exposure))
        made.append((recommender.clock(), ids_of(page)))
    recommender.clock.advance(2 * SECOND_MS)
    return made


def walk_back(recommender: Recommender, stamp_ms: int) -> list[tuple[int, list[int]]]:
    walked = []
    while stamp_ms:
        page = recommender.ask(stamp_ms)
        walked.append((stamp_ms, ids_of(page)))
        stamp_ms = page.time_stamp
    return walked[::-1]


def test_every_seen_batch_is_met_once_on_the_way_back(
    recommender: Recommender, redis: Redis
) -> None:
    """Though Redis keeps three of ten; those in SQL come with their sources."""
    made = show(recommender, 10)
    while fold(recommender.newsroom.engine, redis, consumer="one"):
        pass

    assert walk_back(recommender, made[-1][0]) == made
    tokens = [article.track.click for article in recommender.ask(made[0][0]).recommends]
    assert all(recommender.read(token).source for token in tokens)


def test_a_channel_of_which_redis_has_nothing_still_has_its_history(
    recommender: Recommender, redis: Redis
) -> None:
    made = show(recommender, 2)
    show(recommender, KEPT, channel_id=1)
    while fold(recommender.newsroom.engine, redis, consumer="one"):
        pass

    assert recommender.ask().time_stamp == made[-1][0]


def test_what_redis_forgot_and_sql_never_had_ends_the_way_back(recommender: Recommender) -> None:
    made = show(recommender, 5)

    assert walk_back(recommender, made[-1][0]) == made[-KEPT:]
