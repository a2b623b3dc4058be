"""A catalogue of a site with two channels, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from services.recommender.catalogue import Catalogue
from tests.lab.newsroom import Clock, Newsroom


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """What moments and plans look like differs, so each rule is tested on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def newsroom(engine: Engine, clock: Clock) -> Newsroom:
    room = Newsroom(engine, clock)
    room.channels(1, 2)
    room.authors(5)
    return room


@pytest.fixture
def catalogue(newsroom: Newsroom, clock: Clock) -> Catalogue:
    catalogue = Catalogue(newsroom.engine, clock, newsroom.read_now)
    catalogue.refresh()
    return catalogue
