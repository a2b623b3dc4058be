"""`python -m services.chat` as an operator sees it: how it refuses to start, what it survives, and
what it writes down."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.lab.chat import ChatClient, ChatSite, make_chat_site
from tests.lab.raw_websocket import connect_raw, request, text
from tests.lab.servers import free_port, start_redis, wait_until

NewReader = Callable[[], int]


def run(site: ChatSite, **values: str) -> subprocess.CompletedProcess[str]:
    """A start that comes to its end by itself."""
    doors = {name: f"127.0.0.1:{free_port()}" for name in ("CHAT_BIND", "CHAT_METRICS_BIND")}
    own = {f"TIDINGS_{name}": value for name, value in (doors | values).items()}
    return subprocess.run(
        [sys.executable, "-m", "services.chat"],
        env={**site.environment, **own},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHAT_BIND", "192.0.2.1:8001", "TIDINGS_CHAT_BIND: cannot listen on 192.0.2.1:8001"),
        ("CHAT_METRICS_BIND", "nowhere", "TIDINGS_CHAT_METRICS_BIND: "),
        ("CHAT_DEAD_AFTER_S", "20", "chat_dead_after_s: must be above chat_ping_every_s"),
        ("CHAT_URL", "ws://news.example", "TIDINGS_CHAT_URL: "),
        ("CHAT_ALLOWED_ORIGINS", "https://news.example/chat", "TIDINGS_CHAT_ALLOWED_ORIGINS: "),
        ("DATABASE_URL", "sqlite:////nowhere/at/all.db", "cannot"),
    ],
)
def test_what_prevents_a_start_is_told_in_one_line(
    name: str, value: str, said: str, site: ChatSite
) -> None:
    done = run(site, **{name: value})

    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_worker_that_dies_is_followed_by_another(site: ChatSite, new_reader: NewReader) -> None:
    with site.start_node() as node:
        first = node.worker
        first.send_signal(signal.SIGKILL)
        first.wait(30)
        wait_until(node.is_ready, 60, "the next worker")

        with ChatClient(node.url, site.ticket(new_reader())) as client:
            assert client.welcome
        assert node.worker.pid != first.pid


def test_ctrl_c_ends_it_at_once(site: ChatSite, new_reader: NewReader) -> None:
    with site.start_node() as node, ChatClient(node.url, site.ticket(new_reader())):
        node.send(signal.SIGINT)

        assert node.wait() == 0


def test_strangers_fill_no_log(site: ChatSite) -> None:
    """Garbage, half a handshake and a good one that says nothing: none is a defect of ours."""
    with site.start_node(chat_hello_s=0.3, log_level="info") as node:
        before = len(node.output.splitlines())
        for data in (b"garbage\r\n\r\n", request()[:-2], request(), request(Origin="null")) * 10:
            with connect_raw(node.port) as raw:
                with suppress(OSError):  # its time was over before it said anything
                    raw.send(data)
                assert raw.has_ended()
        lines = [json.loads(line) for line in node.output.splitlines()[before:]]

    told = {line["event"] for line in lines}
    assert told <= {"gunicorn_warning"}
    # One a second, and there were forty of them.
    assert len(lines) < 20


def test_a_node_without_its_bus_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    with start_redis() as redis:
        site = make_chat_site(tmp_path, redis.url)
        with site.start_node() as node:
            redis.kill()
            wait_until(lambda: not node.is_ready(), 60, "readiness to end")
            assert node.get("/health/ready")[0] == 503
            assert node.get("/health/live")[0] == 200

            redis.start()
            wait_until(node.is_ready, 60, "readiness")


def test_a_node_that_is_full_gives_no_more_sockets(site: ChatSite, new_reader: NewReader) -> None:
    with (
        site.start_node(chat_max_connections=2) as node,
        ChatClient(node.url, site.ticket(new_reader())) as first,
        ChatClient(node.url, site.ticket(new_reader())),
        connect_raw(node.port) as third,
    ):
        head = third.shake_hands()
        assert head.startswith("HTTP/1.1 503 ")
        assert "\r\nRetry-After: " in head
        assert node.count("tidings_chat_refused_total", reason="full") == 1

        first.socket.close()
        wait_until(lambda: node.count("tidings_chat_sockets") == 1, 30, "the end of the first")
        with ChatClient(node.url, site.ticket(new_reader())) as other:
            assert other.welcome


def test_a_node_may_open_as_many_files_as_it_takes_sockets(site: ChatSite) -> None:
    """Trap: a shell's usual limit is 1,024, and the 1,025th reader would find no door."""
    with site.start_node(chat_max_connections=1500) as node:
        soft, hard = node.worker.rlimit(psutil.RLIMIT_NOFILE)

    assert soft >= min(hard, 2000)


def test_work_that_holds_up_all_sockets_is_counted(site: ChatSite) -> None:
    with site.start_node() as node:
        before = node.count("tidings_chat_loop_blocked_seconds_count")
        worker = node.worker
        worker.suspend()
        with pytest.raises(psutil.TimeoutExpired):
            worker.wait(1)
        worker.resume()

        def is_counted() -> bool:
            return node.count("tidings_chat_loop_blocked_seconds_count") > before

        wait_until(is_counted, 30, "the count")


def test_a_client_is_not_late_where_its_node_was(site: ChatSite, new_reader: NewReader) -> None:
    """It says hello to a node that stands still for longer than a client has for that."""
    with site.start_node(chat_hello_s=4) as node, connect_raw(node.port) as raw:
        ticket, worker = site.ticket(new_reader()), node.worker
        assert raw.shake_hands().startswith("HTTP/1.1 101 ")
        worker.suspend()
        began_s = time.monotonic()
        raw.send(text({"type": "hello", "ticket": ticket}))
        while time.monotonic() - began_s < 4.5:
            with pytest.raises(psutil.TimeoutExpired):
                worker.wait(0.5)
        worker.resume()

        assert raw.read_message()["type"] == "welcome"
