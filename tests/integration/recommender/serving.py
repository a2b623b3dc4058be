"""A whole recommender in this process: the real Thrift server in a thread, and the client that the
gateway uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from redis import Redis
from sqlalchemy import Engine

from services.recommender import app
from services.recommender.catalogue import Catalogue
from services.recommender.signals.folding import Click, Signals
from services.recommender.tailing import Tail
from tests.lab.newsroom import DAY_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tidings.process.settings import Settings
from tidings.reading.tracking import Shown, Tracker
from tidings.rpc.calling.client import Client, make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import Server
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import (
    ArticleResponse,
    Context,
    Event,
    ReportRequest,
    ReportResponse,
    UserRequest,
    Verdict,
)

READER = 7
PATIENCE_S = 60


@dataclass
class Recommender:
    """One that serves, with everything a test wants to look at or to turn."""

    client: Client
    server: Server
    catalogue: Catalogue
    newsroom: Newsroom
    clock: Clock
    tracker: Tracker
    signals: Signals

    def click(self, reader_id: int, *article_ids: int) -> None:
        """Another reader clicked these, one after another."""
        now_s = self.clock() // 1000
        self.signals.fold(
            [Click(reader_id, id_, now_s, 0, undone=False) for id_ in article_ids], now_s
        )

    def ask(
        self,
        time_stamp: int = 0,
        *,
        user_id: int = READER,
        channel_id: int = 0,
        article_num: int = 10,
        context: Context | None = None,
    ) -> ArticleResponse:
        """One call of `user_recommend`."""
        response: ArticleResponse = self.client.call(
            "user_recommend", UserRequest(user_id, channel_id, article_num, time_stamp, context)
        )
        return response

    def report(self, *events: Event) -> Sequence[Verdict]:
        """One call of `report`; its verdicts."""
        response: ReportResponse = self.client.call("report", ReportRequest(list(events)))
        verdicts: Sequence[Verdict] = response.verdicts
        return verdicts

    def read(self, token: str) -> Shown:
        """What a token is about."""
        return self.tracker.read(token, self.clock())


def ids_of(response: ArticleResponse) -> list[int]:
    """The ids of the recommended articles, in the order to show them."""
    return [article.article_id for article in response.recommends]


@contextmanager
def serve(settings: Settings, engine: Engine, redis: Redis, clock: Clock) -> Iterator[Recommender]:
    """A recommender that serves inside the block. Its catalogue is as fresh as the last
    `catalogue.refresh()`."""
    tracker = Tracker([b"k" * 32])
    newsroom = Newsroom(engine, clock)
    catalogue = Catalogue(engine, clock, newsroom.read_now)
    # No balancer has to notice that this server leaves.
    options = ServerOptions(
        drain_window_s=0,
        drain_timeout_s=PATIENCE_S,
        io_timeout_s=PATIENCE_S,
        max_budget_ms=PATIENCE_S * 1000,
    )
    with mock.patch.object(app, "ServerOptions", return_value=options):
        signals = Signals(sessions=64)
        server = app.make_server(
            settings,
            engine,
            catalogue,
            redis,
            signals=signals,
            tail=Tail(redis, engine, signals, clock),
            tracker=tracker,
            clock=clock,
        )
    thread = threading.Thread(target=server.serve)
    thread.start()
    policy = Policy(
        timeout_ms=PATIENCE_S * 1000, connect_timeout_ms=PATIENCE_S * 1000, pool_size=32
    )
    try:
        with make_client(
            UserRecommend, (f"127.0.0.1:{server.port}",), policy=policy, caller="tests"
        ) as client:
            yield Recommender(client, server, catalogue, newsroom, clock, tracker, signals)
    finally:
        server.drain()
        thread.join(2 * PATIENCE_S)
    assert not thread.is_alive()


def publish_fifty(recommender: Recommender) -> None:
    """Thirty articles in channel 1, twenty older ones in channel 2."""
    recommender.newsroom.articles(30, channel_id=1)
    recommender.newsroom.articles(20, channel_id=2, published_ms=NOW_MS - DAY_MS)
    recommender.catalogue.refresh()


def batches(recommender: Recommender, number: int, **request: Any) -> list[tuple[int, list[int]]]:
    """Ask for fresh batches, two seconds apart, the last one a second ago; returns each one's stamp
    and ids."""
    made = []
    for _ in range(number):
        stamp_ms = recommender.clock.advance(SECOND_MS)
        made.append((stamp_ms, ids_of(recommender.ask(**request))))
        recommender.clock.advance(SECOND_MS)
    return made
