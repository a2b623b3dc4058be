"""The operators' port: metrics and health, from a thread of its own, however busy the process
is."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.mmap_dict import MmapedDict

from tests.lab.servers import free_port, wait_until
from tidings.process.asking import answers_ready
from tidings.process.errors import SettingsError
from tidings.process.metrics import serve_metrics

PROBED = Counter("tests_probed_total", "Counted by a test")

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves until the end of the test; returns the address."""
    stops = []

    def start(
        is_ready: Callable[[], bool] = lambda: True, is_live: Callable[[], bool] = lambda: True
    ) -> str:
        bind = f"127.0.0.1:{free_port()}"
        stops.append(serve_metrics(bind, is_ready, is_live))
        return bind

    yield start
    for stop in stops:
        stop()


def get(bind: str, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://{bind}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as ex:
        with ex:
            return ex.code, ex.read().decode()


def test_metrics_are_those_that_were_counted(serve: Serve) -> None:
    """A scrape sees what the process has counted by then."""
    bind = serve()
    PROBED.inc(3)
    status, body = get(bind, "/metrics")

    assert status == 200
    assert f"tests_probed_total {PROBED._value.get()}" in body


def test_a_file_of_a_worker_that_is_just_starting_is_looked_at_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trap: prometheus_client makes the file first and gives it a length afterwards; a scrape
    between is a 500."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    empty = tmp_path / "counter_1.db"
    empty.touch()
    bind = serve()
    with ThreadPoolExecutor(1) as threads:
        scrape = threads.submit(get, bind, "/metrics")
        MmapedDict(str(empty)).close()  # type: ignore[no-untyped-call]
        status, _ = scrape.result()

    assert status == 200


def test_health_is_asked_anew_each_time(serve: Serve) -> None:
    """Ready and live are two questions, each answered by what is true at that moment."""
    state = {"ready": False, "live": True}
    bind = serve(lambda: state["ready"], lambda: state["live"])
    before = [get(bind, path)[0] for path in ("/health/ready", "/health/live")]
    state.update(ready=True, live=False)
    after = [get(bind, path)[0] for path in ("/health/ready", "/health/live")]

    assert (before, after) == ([503, 200], [200, 503])


def test_a_process_that_does_not_say_otherwise_is_live(serve: Serve) -> None:
    """Answering is living; and nothing else is served here."""
    bind = serve()

    assert get(bind, "/health/live") == (200, "OK\n")
    assert get(bind, "/articles")[0] == 404


def test_a_scrape_does_not_wait_for_a_silent_peer(serve: Serve) -> None:
    """A client that connects and says nothing has a thread to itself."""
    bind = serve()
    host, port = bind.split(":")
    with socket.create_connection((host, int(port))):
        assert get(bind, "/health/live")[0] == 200


def test_scrapes_come_from_many_at_once(serve: Serve) -> None:
    """Two collectors and a person looking do not get in each other's way."""
    bind = serve()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: get(bind, "/metrics")[0], range(16)))

    assert statuses == [200] * 16


def test_nobody_answers_once_it_is_stopped() -> None:
    """Stopping closes the door, so that a restart can have the address."""
    bind = f"127.0.0.1:{free_port()}"
    serve_metrics(bind, lambda: True)()
    with pytest.raises(urllib.error.URLError):
        get(bind, "/metrics")
    stop_again = serve_metrics(bind, lambda: True)
    wait_until(lambda: get(bind, "/metrics")[0] == 200, 20, "the second one")
    stop_again()


def test_an_address_that_is_taken_is_an_error(serve: Serve) -> None:
    """The operator who starts the process is told, and can name the setting."""
    bind = serve()

    with pytest.raises(SettingsError, match="another program listens there"):
        serve_metrics(bind, lambda: True)


def test_a_unix_socket_is_a_door_like_any_other(tmp_path: Path) -> None:
    """Trap: the setting took `unix:` and the process then ended with a traceback."""
    bind = f"unix:{tmp_path}/metrics"
    state = {"ready": False}
    stop = serve_metrics(bind, lambda: state["ready"])
    assert not answers_ready(bind)
    state["ready"] = True
    wait_until(lambda: answers_ready(bind), 20, "an answer within its second")
    stop()
    assert not answers_ready(bind)
    serve_metrics(bind, lambda: True)()


def test_readiness_is_asked_over_tcp_as_well(serve: Serve) -> None:
    """A process that does not answer is not ready."""
    bind = serve()
    wait_until(lambda: answers_ready(bind), 20, "an answer within its second")
    assert not answers_ready(serve(lambda: False))
    assert not answers_ready(f"127.0.0.1:{free_port()}")
