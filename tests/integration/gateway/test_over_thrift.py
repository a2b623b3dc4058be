"""The gateway and a real Thrift server between them: what travels along with a call, and what a
slow one costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from redis import Redis
from sqlalchemy import Engine

from gateway.feed.ladder import RECOMMENDER_FAILURES, REST_S
from tests.lab.servers import wait_until
from tests.unit.gateway.doors import DEADLINE_MS, RECOMMEND_MS, Door, make_door, make_response
from tidings.process.deadline import current_deadline
from tidings.rpc import errors
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.metrics import METRICS
from tidings.rpc.calling.policy import Policy
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import make_server
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest

Answer = Callable[[UserRequest], ArticleResponse]


class Handler:
    """The service, as one test wants it."""

    def __init__(self, answer: Answer) -> None:
        self.user_recommend = answer

    def report(self, _request: Any) -> Any:
        raise NotImplementedError

    similar_articles = explain = report


@contextmanager
def thrift(door: Door, answer: Answer) -> Iterator[None]:
    """The door's recommender is a Thrift server that answers so."""
    options = ServerOptions(drain_window_s=0, drain_timeout_s=20)
    server = make_server(UserRecommend, Handler(answer), "127.0.0.1:0", options=options)
    thread = threading.Thread(target=server.serve)
    thread.start()
    policy = Policy(timeout_ms=DEADLINE_MS)
    try:
        with make_client(
            UserRecommend,
            [f"127.0.0.1:{server.port}"],
            policy=policy,
            caller="gateway",
            observer=METRICS,
        ) as client:
            door.recommending._recommender = client
            yield
    finally:
        server.drain()
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))


def test_a_page_comes_over_the_wire_with_request_id_and_deadline(door: Door) -> None:
    ids = door.newsroom.articles(3)
    seen: dict[str, Any] = {}

    def answer(request: UserRequest) -> ArticleResponse:
        deadline = current_deadline()
        assert deadline is not None
        seen.update(structlog.contextvars.get_contextvars(), remaining_ms=deadline.remaining_ms())
        return make_response(door.tracker, request, ids, stamp_ms=door.clock(), now_ms=door.clock())

    with thrift(door, answer):
        page = door.client.simulate_get(
            "/articles?channel_id=1", headers={"X-Request-Id": "from-outside"}
        )

    assert page.json["served_from"] == "personal"
    assert [card["article_id"] for card in page.json["results"]] == ids
    assert (seen["request_id"], seen["caller"]) == ("from-outside", "gateway")
    assert 0 < seen["remaining_ms"] <= RECOMMEND_MS


def test_a_refusal_over_the_wire_names_the_field(door: Door) -> None:
    def answer(_request: UserRequest) -> ArticleResponse:
        raise errors.invalid({"article_num": "too many for today"})

    with thrift(door, answer):
        page = door.get("/articles?channel_id=1")

    assert page.status_code == 422
    assert page.json["errors"] == {"article_num": "too many for today"}


def test_a_frozen_recommender_costs_a_few_readers_its_share_of_time_and_the_rest_nothing(
    engine: Engine, redis_client: Redis
) -> None:
    door = make_door(engine, redis_client, recommend_ms=500)
    door.newsroom.channels(1)
    ids = door.newsroom.articles(3)
    thaw = threading.Event()
    asked: list[UserRequest] = []

    def answer(request: UserRequest) -> ArticleResponse:
        asked.append(request)
        thaw.wait(60)
        return make_response(door.tracker, request, ids, stamp_ms=door.clock(), now_ms=door.clock())

    def ask() -> str:
        page = door.get("/articles?channel_id=1")
        assert page.status_code == 200
        served_from: str = page.json["served_from"]
        return served_from

    with thrift(door, answer):
        begun_s = time.monotonic()
        served = {ask() for _ in range(60)}
        took_s, waited = time.monotonic() - begun_s, len(asked)
        thaw.set()
        wait_until(lambda: ask() == "personal", 20, "the recommender to be asked again")

    assert served == {"latest"}
    # All sixty would wait for half a minute.
    assert 1 <= waited <= RECOMMENDER_FAILURES + took_s / REST_S
