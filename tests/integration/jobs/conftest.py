"""A shop to order from, batches to run by hand, and a newspaper to build pages of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.delayed.batches import Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.errands import Errand
from jobs.handlers import Handler
from tests.integration.jobs.paper import Paper
from tests.lab.handlers import HANDLERS
from tests.lab.shelf import Shop
from tidings.store.engine import make_engine


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


MakeBatches = Callable[..., Batches]


@pytest.fixture
def make_batches(engine: Engine) -> MakeBatches:
    def make(handlers: Mapping[str, Handler | Errand] = HANDLERS) -> Batches:
        return Batches(engine, handlers, ClockGuard(), threading.Event())

    return make


@pytest.fixture
def paper(engine: Engine, tmp_path: Path) -> Paper:
    return Paper(engine, tmp_path / "site")


@pytest.fixture
def small_paper(sqlite_url: str, make_settings: Any, tmp_path: Path) -> Iterator[Paper]:
    """For what depends on files and not on the database."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    yield Paper(engine, tmp_path / "site")
    engine.dispose()
