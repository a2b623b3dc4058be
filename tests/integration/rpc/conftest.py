"""Real servers on port 0, and clients of them, all stopped and looked over at the end of the
test."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import structlog

from tests.integration.rpc.peers import PATIENCE_S
from tidings.rpc.calling.client import Client, make_client
from tidings.rpc.calling.metrics import METRICS
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import ErrorTable
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import Server, make_server
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import (
    ArticleResponse,
    ReportRequest,
    ReportResponse,
    UserRequest,
    Verdict,
)

Recommend = Callable[[UserRequest], Any]
Serve = Callable[..., "Running"]
Connect = Callable[..., Client]


def echo(request: UserRequest) -> ArticleResponse:
    """An answer that says to whom it belongs."""
    return ArticleResponse(
        exposure=str(request.user_id), time_stamp=request.time_stamp or 0, recommends=[]
    )


class Handler:
    """The service with `user_recommend` as the test wants it."""

    def __init__(self, recommend: Recommend) -> None:
        self._recommend = recommend

    def user_recommend(self, request: UserRequest) -> Any:
        return self._recommend(request)

    def report(self, request: ReportRequest) -> ReportResponse:
        return ReportResponse([Verdict.ACCEPTED for _ in (request and request.events) or ()])

    def similar_articles(self, request: Any) -> Any:
        raise NotImplementedError(request)

    explain = similar_articles


@dataclass
class Running:
    server: Server
    endpoint: str
    thread: threading.Thread

    def stop(self) -> None:
        """Drain; the drain window is over, however long it was to be."""
        with mock.patch(
            "tidings.rpc.serving.server.time", SimpleNamespace(monotonic=lambda: math.inf)
        ):
            self.server.drain()
            self.join()

    def join(self) -> None:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the server has not stopped"


@pytest.fixture(autouse=True)
def _logs_to_pytest() -> None:
    """Connections outlive the test's last line a little; what they print then would land between
    two tests."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server: `serve(recommend, max_in_flight=1)`. Patient, unless told otherwise."""
    started: list[Running] = []

    def start(
        recommend: Recommend = echo,
        *,
        bind: str | socket.socket = "127.0.0.1:0",
        errors: ErrorTable | None = None,
        tls: Any = None,
        **options: Any,
    ) -> Running:
        patient = {"drain_window_s": 0, "io_timeout_s": PATIENCE_S, "drain_timeout_s": PATIENCE_S}
        chosen = ServerOptions(**{**patient, **options})
        server = make_server(
            UserRecommend, Handler(recommend), bind, options=chosen, errors=errors, tls=tls
        )
        if isinstance(bind, socket.socket):
            bind = "127.0.0.1:0"
        endpoint = bind if bind.startswith("unix:") else f"{bind.rpartition(':')[0]}:{server.port}"
        thread = threading.Thread(target=server.serve, name="serve")
        thread.start()
        started.append(Running(server, endpoint, thread))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make a client: `connect(endpoint, timeout_ms=200)`. Patient, unless told otherwise."""
    clients: list[Client] = []

    def make(*endpoints: str, caller: str = "tests", **policy: Any) -> Client:
        patient = {
            "timeout_ms": PATIENCE_S * 1000,
            "pool_wait_ms": PATIENCE_S * 1000,
            "connect_timeout_ms": PATIENCE_S * 1000,
        }
        client = make_client(
            UserRecommend,
            endpoints,
            policy=Policy(**{**patient, **policy}),
            caller=caller,
            observer=METRICS,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
