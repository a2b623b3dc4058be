"""What one client may take of the door: threads, connections and memory have an end, and who does
nothing of the kind is served meanwhile. How time is counted stands in test_fair_time.py."""

from __future__ import annotations

import http.client
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.integration.gateway.raw_http import FEED, GET, Wire, lines, metric
from tests.lab.servers import wait_until
from tests.lab.sites import PATIENT, UNLIMITED

OPEN = {**UNLIMITED, **PATIENT}

DRIPPING = b"GET /channels HTTP/1.1\r\nHost: a\r\nX-Slow: "
STALLED = (
    b"POST /behaviors HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n{"
)
# Some tens of kilobytes each, and more in all than any system keeps for a client.
UNREAD = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 300
THREADS = 2


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    """Few threads, so that a handful of clients could take them all."""
    folder = tmp_path_factory.mktemp("door")
    with start_gateway(folder, "", gateway_threads=THREADS, **OPEN) as gateway:
        yield gateway
        assert "Traceback" not in gateway.process.log.read_text()


@pytest.fixture
def address(gateway: GatewaySite) -> tuple[str, int]:
    return ("127.0.0.1", gateway.port)


def is_served(address: tuple[str, int]) -> bool:
    """Whether a client that does nothing unusual gets what it asks for, on a new connection."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", "/channels")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def dropped(gateway: GatewaySite, why: str) -> float:
    return metric(gateway, f'tidings_http_connections_dropped_total{{why="{why}"}}')


# Slow and idle clients


@pytest.mark.parametrize(
    ("data", "why", "detail"),
    [(DRIPPING, "slow_headers", "headers"), (STALLED, "slow_body", "body")],
    ids=["heads", "bodies"],
)
def test_who_drips_holds_no_thread_and_is_told_after_a_while(
    gateway: GatewaySite,
    address: tuple[str, int],
    opened: Callable[..., list[Wire]],
    data: bytes,
    why: str,
    detail: str,
) -> None:
    before = dropped(gateway, why)
    slow = opened(50, address, data)
    stop = threading.Event()
    dripping = threading.Thread(target=_drip, args=(slow, stop))
    dripping.start()
    try:
        served = [is_served(address) for _ in range(20)]
        answers = [wire.answer() for wire in slow]
    finally:
        stop.set()
        dripping.join()

    assert all(served)
    assert {answer.status for answer in answers} == {408}
    assert detail in answers[0].json["detail"]
    assert dropped(gateway, why) == before + 50


def test_a_body_that_comes_fast_enough_may_take_longer_than_one_that_stalls(
    address: tuple[str, int],
) -> None:
    """Nine seconds at 10 KiB a second, where a stalled body has five."""
    body = b'{"events": [' + b" " * 90_000 + b"]}"
    head = STALLED.removesuffix(b"{").replace(b"100000", b"%d" % len(body))
    with Wire(address) as wire:
        wire.send(head)
        for start in range(0, len(body), 5_000):
            wire.send(body[start : start + 5_000])
            time.sleep(0.5)  # the pace itself

        assert wire.answer().status == 422


def test_an_answer_nobody_reads_holds_no_thread_and_is_dropped(
    gateway: GatewaySite, address: tuple[str, int], opened: Callable[..., list[Wire]]
) -> None:
    before = dropped(gateway, "unread")
    deaf = opened(3 * THREADS, address, UNREAD, receive_buffer=2048)

    wait_until(lambda: dropped(gateway, "unread") > before, 60, "the door's patience to end")
    assert all(is_served(address) for _ in range(20))
    wait_until(lambda: dropped(gateway, "unread") == before + len(deaf), 60, "an end for all")


def test_a_slow_reader_gets_the_whole_answer(address: tuple[str, int]) -> None:
    with Wire(address, receive_buffer=2048) as wire:
        wire.send(FEED * 20)
        time.sleep(1)  # slower than any network, and quicker than the door's patience

        answers = [wire.answer() for _ in range(20)]

    assert {answer.status for answer in answers} == {200}
    assert all(len(answer.json["results"]) == 100 for answer in answers[:1])


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(GET + FEED + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + GET)

        first, second, third, fourth = (wire.answer() for _ in range(4))

    assert "name" in first.json["results"][0]
    assert "served_from" in second.json
    assert third.status == 404
    assert fourth.body == first.body


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    gateway: GatewaySite, address: tuple[str, int]
) -> None:
    for data in (b"", DRIPPING, STALLED, FEED * 10, GET[:-1]):
        with Wire(address) as wire:
            wire.send(data)

    _, worker = gateway.processes()

    def held() -> list[str]:
        return [
            each.status
            for each in worker.net_connections("tcp")
            if each.laddr.port == gateway.port and each.status != "LISTEN"
        ]

    wait_until(lambda: not held(), 60, "all connections to end")
    assert is_served(address)


def test_a_client_that_has_said_all_and_waits_is_answered(address: tuple[str, int]) -> None:
    """As `nc` does: it closes its half of the connection after the request."""
    with Wire(address) as wire:
        wire.send(GET)
        wire.sock.shutdown(socket.SHUT_WR)

        assert wire.answer().status == 200


# Too many


ROOM = 200


@pytest.fixture
def small_gateway(tmp_path: Path) -> Iterator[GatewaySite]:
    """One whose worker may open four hundred files, and so has room for two hundred clients."""
    with start_gateway(tmp_path, "", gateway_threads=THREADS, **OPEN) as gateway:
        master, worker = gateway.processes()
        resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (2 * ROOM, 2 * ROOM))
        # The next worker inherits that.
        gateway.process.send(signal.SIGHUP)
        wait_until(
            lambda: bool(lines(gateway, "few_open_files")) and not worker.is_running(),
            30,
            "a worker",
        )
        yield gateway


def test_the_oldest_idle_connection_goes_when_there_is_no_room(
    small_gateway: GatewaySite, opened: Callable[..., list[Wire]]
) -> None:
    address = ("127.0.0.1", small_gateway.port)
    (line,) = lines(small_gateway, "few_open_files")
    assert line["connections"] == ROOM
    idle = opened(ROOM, address)
    assert idle[0].send(GET).answer().status == 200  # and so it is the youngest again

    newcomers = opened(5, address, GET)

    assert [wire.answer().status for wire in newcomers] == [200] * 5
    assert all(wire.is_closed() for wire in idle[1:6])
    assert idle[0].send(GET).answer().status == 200
    assert idle[-1].send(GET).answer().status == 200
    assert dropped(small_gateway, "evicted") >= 5


def test_more_idle_clients_than_there_is_room_for_keep_no_other_out(
    small_gateway: GatewaySite, opened: Callable[..., list[Wire]]
) -> None:
    address = ("127.0.0.1", small_gateway.port)
    opened(2 * ROOM, address)

    assert all(is_served(address) for _ in range(20))


def test_who_never_ends_its_head_keeps_no_newcomer_out(
    small_gateway: GatewaySite, opened: Callable[..., list[Wire]]
) -> None:
    address = ("127.0.0.1", small_gateway.port)
    opened(2 * ROOM, address, DRIPPING)

    assert all(is_served(address) for _ in range(20))


def test_an_address_holds_so_many_connections_and_no_more(
    tmp_path: Path, opened: Callable[..., list[Wire]]
) -> None:
    stranger = own_address()
    with start_gateway(tmp_path, "", gateway_connections_per_address=3, **OPEN) as gateway:
        address = ("127.0.0.1", gateway.port)
        held = opened(3, address, GET, source=stranger)
        assert [wire.answer().status for wire in held] == [200] * 3

        (fourth,) = opened(1, address, source=stranger)

        answer = fourth.answer()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json["type"] == "/docs#too-many-connections"
        assert fourth.is_closed()
        assert dropped(gateway, "address") == 1
        (line,) = [line for line in lines(gateway, "request") if line["status"] == 429]
        assert line["address"] == stranger
        # A proxy speaks for many.
        behind_proxy = opened(10, address, GET)
        assert [wire.answer().status for wire in behind_proxy] == [200] * 10
        held[0].sock.close()
        wait_until(
            lambda: opened(1, address, GET, source=stranger)[0].answer().status == 200,
            30,
            "room for another",
        )


# Proxies


def test_what_a_stranger_says_of_others_is_not_believed_and_the_log_names_the_setting(
    tmp_path: Path,
) -> None:
    stranger = own_address()
    spoken = b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    request = b"GET /articles HTTP/1.1\r\nHost: a\r\n" + spoken
    for trusted, is_secure in (("", False), (f"{stranger}/32", True)):
        folder = tmp_path / (trusted.replace("/", "-") or "nobody")
        folder.mkdir()
        with (
            start_gateway(folder, "", trusted_proxies=trusted, **OPEN) as gateway,
            Wire(("127.0.0.1", gateway.port), source=stranger) as wire,
        ):
            answers = [wire.send(request).answer() for _ in range(3)]

            cookies = {"Secure" in answer.headers["set-cookie"] for answer in answers}
            assert cookies == {is_secure}
            ignored = metric(gateway, "tidings_http_forwarded_ignored_total")
            assert ignored == (0 if is_secure else 3)
            told = lines(gateway, "forwarded_headers_ignored")
            assert {line["setting"] for line in told} == (
                set() if is_secure else {"TIDINGS_TRUSTED_PROXIES"}
            )


def own_address() -> str:
    """An address of this machine that is not loopback, as a stranger has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # nothing is sent
        address: str = probe.getsockname()[0]
    assert not address.startswith("127."), "this test needs a network interface"
    return address


def _drip(wires: list[Wire], stop: threading.Event) -> None:
    while not stop.wait(0.3):
        for wire in wires:
            try:
                wire.sock.send(b"x")
            except OSError:
                continue
