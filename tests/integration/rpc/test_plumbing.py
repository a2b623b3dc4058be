"""What travels beside the request: the deadline, the request id, the caller; and health, which the
layer answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import structlog
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

from tests.integration.rpc.conftest import Connect, Serve, echo
from tests.integration.rpc.peers import dialled, request_frame
from tidings.process.deadline import (
    Deadline,
    DeadlineExceededError,
    current_deadline,
    deadline_scope,
)
from tidings.rpc.serving.server import make_server
from tidings_idl.base.ttypes import HealthProbe
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import (
    ArticleResponse,
    UserRequest,
)


def test_the_budget_reaches_the_handler(serve: Serve, connect: Connect) -> None:
    """The soonest of the policy's, the caller's and the current deadline; and never more than was
    left."""
    seen: list[float] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining_ms())
        return echo(request)

    client = connect(serve(recommend, max_budget_ms=1_000_000).endpoint, timeout_ms=900_000)
    client.call("user_recommend", UserRequest())
    client.call("user_recommend", UserRequest(), Deadline.after_ms(600_000))
    with deadline_scope(Deadline.after_ms(300_000)):
        client.call("user_recommend", UserRequest(), Deadline.after_ms(600_000))

    assert 600_000 < seen[0] <= 900_000
    assert 300_000 < seen[1] <= 600_000
    assert 0 < seen[2] <= 300_000


def test_a_caller_without_a_budget_gets_the_most_allowed(serve: Serve) -> None:
    """No call is without a deadline, and a header cannot ask for an hour."""
    seen: list[float] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining_ms())
        return echo(request)

    with dialled(serve(recommend, max_budget_ms=400_000).endpoint) as sock:
        for budget in (None, b"3600000", b"soon", b"", b"-5", b"9" * 400):
            sock.sendall(
                request_frame(headers=None if budget is None else {b"deadline-budget-ms": budget})
            )
            sock.recv(4096)

    assert len(seen) == 6
    assert all(300_000 < remaining_ms <= 400_000 for remaining_ms in seen)


def test_headers_belong_to_one_message(serve: Serve) -> None:
    """Trap: the stock transport keeps the last headers, so a call without any would inherit
    another's deadline."""
    seen: list[float] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining_ms())
        return echo(request)

    with dialled(serve(recommend, max_budget_ms=900_000).endpoint) as sock:
        sock.sendall(request_frame(headers={b"deadline-budget-ms": b"2000"}))
        sock.recv(4096)
        plain = TSocket()
        plain.setHandle(sock)
        framed = TFramedTransport(plain)
        UserRecommend.Client(TBinaryProtocol(framed)).user_recommend(UserRequest(user_id=1))

    assert seen[0] <= 2000 < seen[1]


def test_work_that_nobody_waits_for_is_refused(serve: Serve) -> None:
    """A request that arrives with less than the least budget never reaches the handler."""
    called = threading.Event()

    def recommend(request: UserRequest) -> ArticleResponse:
        called.set()
        return echo(request)

    with dialled(serve(recommend, min_budget_ms=20).endpoint) as sock:
        sock.sendall(request_frame(headers={b"deadline-budget-ms": b"19"}))
        assert b"the deadline has passed" in sock.recv(4096)

    assert not called.is_set()


def test_a_deadline_that_passes_in_the_handler_is_the_callers_deadline(
    serve: Serve, connect: Connect
) -> None:
    """SQL and Redis calls check the same deadline; the caller learns the same from each of them."""

    def recommend(_: UserRequest) -> None:
        raise DeadlineExceededError("in a query")

    with pytest.raises(DeadlineExceededError):
        connect(serve(recommend).endpoint).call("user_recommend", UserRequest())


def test_without_time_nothing_is_sent(serve: Serve, connect: Connect) -> None:
    """A deadline that has passed already costs the server nothing."""
    client = connect(serve().endpoint)

    with pytest.raises(DeadlineExceededError):
        client.call("user_recommend", UserRequest(), Deadline.after_ms(-1))


def test_the_request_id_and_the_caller_travel(serve: Serve, connect: Connect) -> None:
    """One id in the logs of both processes."""
    seen: list[dict[str, Any]] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        seen.append(structlog.contextvars.get_contextvars())
        return echo(request)

    client = connect(serve(recommend).endpoint, caller="gateway")
    with structlog.contextvars.bound_contextvars(request_id="abc-1"):
        client.call("user_recommend", UserRequest())
    client.call("user_recommend", UserRequest())

    assert (seen[0]["request_id"], seen[0]["caller"]) == ("abc-1", "gateway")
    assert seen[1]["request_id"] not in ("", "abc-1")


def test_hostile_headers_are_replaced(serve: Serve) -> None:
    """What stands in log lines and SQL comments cannot be chosen freely by a peer."""
    seen: list[dict[str, Any]] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        seen.append(structlog.contextvars.get_contextvars())
        return echo(request)

    with dialled(serve(recommend).endpoint) as sock:
        sock.sendall(
            request_frame(headers={b"request-id": b"x */ DROP\n", b"caller": b"\xff" * 5000})
        )
        sock.recv(4096)

    assert len(seen[0]["request_id"]) == 16
    assert seen[0]["caller"] == "unknown"


def test_health_is_answered_by_the_layer(serve: Serve, connect: Connect) -> None:
    """The handler has no `is_healthy`; the server knows best whether it may be sent work."""
    client = connect(serve().endpoint)

    assert [client.call("is_healthy", probe) for probe in HealthProbe] == [True, True, True]
    assert client.call("is_healthy", 99) is True, "a probe of a newer client is taken for readiness"


def test_a_handler_that_lacks_a_method_fails_at_start() -> None:
    """Not at the first call."""
    with pytest.raises(
        TypeError, match="object lacks explain, report, similar_articles, user_recommend"
    ):
        make_server(UserRecommend, object(), "127.0.0.1:0")
