"""The time of a request: it runs from when the request could be read, each address waits in its
turn, and what would wait too long is told so."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.integration.gateway.raw_http import FEED, GET, Wire, lines, metric
from tests.lab.servers import wait_until
from tests.lab.sites import UNLIMITED


class Silent:
    """A recommender that takes calls, and says nothing until it leaves."""

    def __init__(self, listener: socket.socket) -> None:
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener

    def leave(self) -> None:
        """Who waits for it goes on without it."""
        self._listener.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield Silent(listener)


def busy_gateway(
    folder: Path, recommender: Silent, *, deadline_ms: int = 30_000, **settings: object
) -> AbstractContextManager[GatewaySite]:
    """A feed keeps a thread busy until the recommender leaves, or for almost as long as it may."""
    return start_gateway(
        folder,
        "",
        recommender_endpoints=recommender.address,
        gateway_deadline_ms=deadline_ms,
        gateway_recommend_ms=deadline_ms - 100,
        **UNLIMITED,
        **settings,
    )


def wait_until_at_work(gateway: GatewaySite, count: int) -> None:
    sample = 'tidings_http_connections{state="at_work"}'
    wait_until(lambda: metric(gateway, sample) == count, 30, f"{count} at work")


def test_who_would_wait_too_long_is_told_before_any_work(
    tmp_path: Path, opened: Callable[..., list[Wire]], silent: Silent
) -> None:
    """One thread, and a feed that waits for the recommender for longer than they may wait."""
    with busy_gateway(tmp_path, silent, deadline_ms=16_000, gateway_threads=1) as gateway:
        address = ("127.0.0.1", gateway.port)
        (slow,) = opened(1, address, FEED)
        wait_until_at_work(gateway, 1)
        crowd = opened(10, address, GET.replace(b"Host: a", b"Host: a\r\nX-Request-Id: waits"))

        told = [wire.answer() for wire in crowd]
        assert {answer.status for answer in told} == {503}
        for answer in told:
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-request-id"] == "waits"
            assert answer.json["type"] == "/docs#overloaded"
        # The one that was at work all the time is answered after them, and in its own time.
        silent.leave()
        assert slow.answer().status == 200
        (line,) = [line for line in lines(gateway, "request") if line["route"] == "/articles"]
        assert line["queue_ms"] < line["duration_ms"]
        # They waited half of their time, and the histogram shows it.
        count = metric(gateway, "tidings_http_queue_seconds_count")
        assert count - metric(gateway, 'tidings_http_queue_seconds_bucket{le="1.0"}') >= 10
        shed = metric(
            gateway, 'tidings_http_requests_total{method="GET",route="(none)",status="503"}'
        )
        assert shed == 10
        assert lines(gateway, "requests_shed")
        # They may go on over the same connections.
        assert [wire.send(GET).answer().status for wire in crowd] == [200] * 10


def test_the_wait_for_a_thread_is_part_of_the_time_in_log_and_metrics(
    tmp_path: Path, opened: Callable[..., list[Wire]], silent: Silent
) -> None:
    with busy_gateway(tmp_path, silent, gateway_threads=1) as gateway:
        address = ("127.0.0.1", gateway.port)
        (slow,) = opened(1, address, FEED)
        wait_until_at_work(gateway, 1)
        (waits,) = opened(1, address, GET)
        wait_until_at_work(gateway, 2)
        time.sleep(1)  # the wait itself
        silent.leave()

        assert slow.answer().status == waits.answer().status == 200

        (line,) = [line for line in lines(gateway, "request") if line["route"] == "/channels"]
        assert line["duration_ms"] >= line["queue_ms"] > 500
        over_half = metric(
            gateway, 'tidings_http_request_seconds_count{route="/channels"}'
        ) - metric(gateway, 'tidings_http_request_seconds_bucket{le="0.5",route="/channels"}')
        assert over_half == 1


def test_a_thousand_requests_of_one_address_hold_up_no_other(
    tmp_path: Path, opened: Callable[..., list[Wire]], silent: Silent
) -> None:
    """While the thread is busy, one address queues a hundred requests and another one."""
    with busy_gateway(tmp_path, silent, gateway_threads=1) as gateway:
        address = ("127.0.0.1", gateway.port)
        (slow,) = opened(1, address, FEED)
        wait_until_at_work(gateway, 1)
        crowd = opened(100, address, _by("192.0.2.1", "crowd"))
        wait_until_at_work(gateway, 101)
        (reader,) = opened(1, address, _by("192.0.2.2", "reader"))
        wait_until_at_work(gateway, 102)
        silent.leave()

        assert {wire.answer().status for wire in (slow, reader, *crowd)} == {200}

        order = [line["request_id"] for line in lines(gateway, "request")]
        waited = [name for name in order if name in ("crowd", "reader")]
        assert waited.index("reader") <= 2


def _by(address: str, request_id: str) -> bytes:
    told = f"Host: a\r\nX-Forwarded-For: {address}\r\nX-Request-Id: {request_id}"
    return GET.replace(b"Host: a", told.encode())


def test_a_stopping_gateway_answers_what_it_has_and_says_that_it_goes(
    tmp_path: Path, silent: Silent
) -> None:
    with (
        busy_gateway(tmp_path, silent) as gateway,
        Wire(("127.0.0.1", gateway.port)) as busy,
        Wire(("127.0.0.1", gateway.port)) as idle,
    ):
        assert idle.send(GET).answer().headers["connection"] == "keep-alive"
        busy.send(FEED)
        wait_until_at_work(gateway, 1)

        gateway.process.send(signal.SIGTERM)
        assert idle.is_closed()
        silent.leave()

        answer = busy.answer()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert busy.is_closed()
