"""A model is changed under calls: a recommender of two workers as it runs, clients that ask without
pause, and `tidings models use` at a shell beside them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from services.recommender.features import FEATURES
from services.recommender.models.files import About, Kind, models_of
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.servers import free_port, spawn, wait_until
from tests.lab.sites import PATIENT, TIDINGS
from tidings.client import TidingsClient, TidingsError
from tidings.process.asking import answers_ready

CLIENTS = 4
ARTICLES = 500
PATIENCE_S = 60


class Asker:
    """A client that asks and asks until it is told to stop."""

    def __init__(self, endpoint: str, reader_id: int) -> None:
        self.models: list[str] = []
        self.failures: list[TidingsError] = []
        self.asked = 0
        self._endpoint = endpoint
        self._reader_id = reader_id

    def ask(self, stopping: threading.Event) -> None:
        with TidingsClient(self._endpoint, timeout_ms=30_000) as tidings:
            while not stopping.is_set():
                self.asked += 1
                try:
                    assert tidings.feed(self._reader_id).articles
                    self.models.append(tidings.explain(self._reader_id).model)
                except TidingsError as ex:
                    self.failures.append(ex)

    def is_served_by(self, name: str) -> bool:
        return self.models[-1:] == [name]


@pytest.fixture
def environ(
    environment: Callable[..., dict[str, str]], sqlite_url: str, redis_url: str
) -> dict[str, str]:
    return environment(
        database_url=sqlite_url,
        redis_url=redis_url,
        redis_timeout_s=PATIENT["redis_timeout_s"],
        recommender_bind=f"127.0.0.1:{free_port()}",
        recommender_metrics_bind=f"127.0.0.1:{free_port()}",
        recommender_workers=2,
    )


@pytest.fixture
def endpoint(engine: Engine, environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Of a recommender that is ready."""
    newsroom = Newsroom(engine, Clock(time.time_ns() // 10**6))
    newsroom.channels(1, 2)
    newsroom.articles(ARTICLES)
    log = tmp_path / "recommender.log"
    with log.open("wb") as file:
        process = spawn(
            [sys.executable, "-m", "services.recommender"], env=environ, stdout=file, stderr=file
        )
    try:
        metrics = environ["TIDINGS_RECOMMENDER_METRICS_BIND"]
        wait_until(partial(answers_ready, metrics), PATIENCE_S, "the recommender")
        yield environ["TIDINGS_RECOMMENDER_BIND"]
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def publish(var_dir: Path, above: float) -> str:
    """A ranker of one split, by age; its name."""
    arrays = {
        "splits": np.array([1], np.int32),
        "feature": np.array([FEATURES.index("age_h")], np.int32),
        "threshold": np.array([above]),
        "left": np.array([-1], np.int32),
        "right": np.array([-2], np.int32),
        "missing_left": np.array([True]),
        "leaf": np.array([0.0, 1.0]),
    }
    return models_of(var_dir).publish(About(Kind.RANKER, FEATURES), arrays)


def use(name: str, environ: dict[str, str]) -> None:
    """What an operator types."""
    subprocess.run(
        [TIDINGS, "models", "use", name], env=environ, check=True, capture_output=True, timeout=60
    )


def test_a_model_is_changed_under_calls_and_none_of_them_fails(
    endpoint: str, environ: dict[str, str]
) -> None:
    """The blend, one model, another, and the blend again: each client comes to be served by each,
    and no call is lost on the way."""
    var_dir = Path(environ["TIDINGS_VAR_DIR"])
    names = [publish(var_dir, above) for above in (1.0, 2.0)]
    askers = [Asker(endpoint, reader_id) for reader_id in range(1, CLIENTS + 1)]
    stopping = threading.Event()

    def are_served_by(name: str) -> bool:
        return all(asker.is_served_by(name) for asker in askers)

    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(asker.ask, stopping) for asker in askers]
        try:
            wait_until(partial(are_served_by, "blend"), PATIENCE_S, "the first answers")
            for name in (*names, "blend"):
                use(name, environ)
                wait_until(partial(are_served_by, name), PATIENCE_S, f"answers by {name}")
        finally:
            stopping.set()
        for one in running:
            one.result(PATIENCE_S)

    assert [asker.failures for asker in askers] == [[]] * CLIENTS
    assert {name for asker in askers for name in asker.models} == {"blend", *names}
    assert all(asker.asked == len(asker.models) for asker in askers)
