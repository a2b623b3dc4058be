"""`python -m gateway` as an operator sees it: how it refuses to start, how it stops, what no client
can do to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine

from tests.conftest import NOWHERE, MakeSettings
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.programs import run_to_end
from tests.lab.servers import free_port, spawn, wait_until
from tests.lab.sites import PATIENT, Reader
from tidings.store.engine import make_engine

Environment = Callable[..., dict[str, str]]
RECOMMEND_MS = 500


class Process:
    """A gateway or recommender that was started, and what it prints."""

    def __init__(self, module: str, env: dict[str, str], folder: Path) -> None:
        self._command = [sys.executable, "-m", module]
        self._env = env
        self._output = folder / f"{module}.output"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._output.open("ab") as file:
            self.process = spawn(self._command, env=self._env, stdout=file, stderr=file)

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """To it and its workers."""
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        for each in (parent, *parent.children()):
            each.send_signal(number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Running:
    """A gateway that serves on `url`, over SQLite with a dozen articles, and a recommender that may
    be started."""

    def __init__(
        self, gateway: Process, recommender: Process, port: int, metrics_port: int
    ) -> None:
        self.gateway = gateway
        self.recommender = recommender
        self.port = port
        self.metrics_port = metrics_port
        self.url = f"http://127.0.0.1:{port}"

    def reader(self) -> Reader:
        return Reader(self.url)

    def is_ready(self) -> bool:
        return _status(self.metrics_port, "/health/ready") == 200


@pytest.fixture
def newsroom(sqlite_url: str, make_settings: MakeSettings) -> Iterator[Newsroom]:
    engine: Engine = make_engine(make_settings(database_url=sqlite_url).database)
    newsroom = Newsroom(engine, Clock(time.time_ns() // 10**6))
    newsroom.channels(1)
    newsroom.articles(12)
    yield newsroom
    engine.dispose()


@pytest.fixture
def start_gateway(
    newsroom: Newsroom, sqlite_url: str, redis_url: str, environment: Environment, tmp_path: Path
) -> Iterator[Callable[..., Running]]:
    with ExitStack() as stack:

        def start(**settings: Any) -> Running:
            values = {**PATIENT, **settings}
            port, metrics_port, thrift = free_port(), free_port(), f"127.0.0.1:{free_port()}"
            env = environment(
                gateway_bind=f"127.0.0.1:{port}",
                gateway_metrics_bind=f"127.0.0.1:{metrics_port}",
                recommender_bind=thrift,
                recommender_endpoints=(thrift,),
                database_url=sqlite_url,
                redis_url=redis_url,
                log_format="json",
                **values,
            )
            gateway = Process("gateway", env, tmp_path)
            recommender = Process("services.recommender", env, tmp_path)
            stack.callback(gateway.kill)
            stack.callback(recommender.kill)
            running = Running(gateway, recommender, port, metrics_port)
            gateway.start()
            wait_until(lambda: running.is_ready() or gateway.has_ended, 30, "the gateway")
            assert not gateway.has_ended, gateway.output
            return running

        yield start


def refusal(env: dict[str, str]) -> str:
    """What a gateway that refuses to start says, after checking that it is one line and exit code
    2."""
    done = run_to_end([sys.executable, "-m", "gateway"], Path.cwd(), env)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("gateway: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0]
    return lines[0]


@pytest.mark.parametrize("key", ["GATEWAY_BIND", "GATEWAY_METRICS_BIND"])
def test_a_port_in_use_is_named(environment: Environment, sqlite_url: str, key: str) -> None:
    """gunicorn would try five times, a second each, and end with a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"

        line = refusal(environment(**{"database_url": sqlite_url, key.lower(): bind}))

    assert f"TIDINGS_{key}" in line
    assert bind in line


def test_a_unix_socket_in_use_is_named_and_a_stale_one_is_taken_over(
    start_gateway: Callable[..., Running], environment: Environment, sqlite_url: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "door")
    bind = f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(path)
        taken.listen()
        assert "TIDINGS_GATEWAY_BIND" in refusal(
            environment(database_url=sqlite_url, gateway_bind=bind)
        )
    assert os.path.exists(path)

    metrics_port = free_port()
    env = environment(
        database_url=sqlite_url,
        gateway_bind=bind,
        gateway_metrics_bind=f"127.0.0.1:{metrics_port}",
        log_format="json",
    )
    gateway = Process("gateway", env, tmp_path)
    gateway.start()
    try:
        wait_until(lambda: _status(metrics_port, "/health/ready") == 200, 30, "the gateway")
    finally:
        gateway.kill()


def test_an_old_schema_is_named_with_its_cure(environment: Environment, tmp_path: Path) -> None:
    line = refusal(environment(database_url=f"sqlite:///{tmp_path}/empty.db"))

    assert "tidings migrate" in line


def test_a_database_that_is_not_there_is_named(environment: Environment) -> None:
    line = refusal(environment(database_url=f"mysql+pymysql://tidings:secret@{NOWHERE}/tidings"))

    assert "TIDINGS_DATABASE_URL" in line
    assert "secret" not in line


def test_a_wrong_database_url_is_named(environment: Environment) -> None:
    env = environment() | {"TIDINGS_DATABASE_URL": "oracle://somewhere/x"}

    assert "TIDINGS_DATABASE_URL" in refusal(env)


def test_a_folder_that_cannot_be_written_is_named(
    environment: Environment, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    line = refusal(environment(database_url=sqlite_url, var_dir=tmp_path / "file" / "var"))

    assert "TIDINGS_VAR_DIR" in line


def test_a_misspelt_setting_is_named(environment: Environment) -> None:
    assert "TIDINGS_GATEWAY_BIND?" in refusal(
        environment() | {"TIDINGS_GATEWAY_BND": "127.0.0.1:1"}
    )


def test_a_missing_key_is_named(environment: Environment, sqlite_url: str) -> None:
    env = environment(database_url=sqlite_url) | {"TIDINGS_SECRET_KEYS": ""}

    assert "TIDINGS_SECRET_KEYS" in refusal(env)


def test_a_missing_codec_is_named(
    environment: Environment, sqlite_url: str, tmp_path: Path
) -> None:
    """Thrift itself would go on in pure Python, twenty to forty times slower, and not say a
    word."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['thrift.protocol.fastbinary'] = None\n"
    )
    env = environment(database_url=sqlite_url) | {"PYTHONPATH": str(tmp_path)}

    assert "fastbinary" in refusal(env)


def test_killed_recommender_no_reader_notices_and_all_is_well_again(
    start_gateway: Callable[..., Running],
) -> None:
    site = start_gateway(gateway_recommend_ms=RECOMMEND_MS)
    _follow_the_recommender(site, site.recommender.kill, site.recommender.start)


def test_frozen_recommender_no_reader_notices_and_all_is_well_again(
    start_gateway: Callable[..., Running],
) -> None:
    site = start_gateway(gateway_recommend_ms=RECOMMEND_MS)
    _follow_the_recommender(
        site,
        lambda: site.recommender.send_all(signal.SIGSTOP),
        lambda: site.recommender.send_all(signal.SIGCONT),
    )


def _follow_the_recommender(
    site: Running, take_away: Callable[[], None], bring_back: Callable[[], None]
) -> None:
    reader = site.reader()
    seen: list[str] = []
    seconds: list[float] = []

    def ask() -> str:
        started_s = time.monotonic()
        answer = reader.get("/articles?channel_id=1&article_num=3")
        assert answer.status == 200, answer.body
        seconds.append(time.monotonic() - started_s)
        seen.append(answer.json["served_from"])
        time.sleep(0.05)
        return seen[-1]

    assert ask() == "latest"
    site.recommender.start()
    wait_until(lambda: ask() == "personal", 20, "the recommender")
    seen.clear()
    seconds.clear()
    take_away()

    def is_away() -> bool:
        assert ask() in ("personal", "cached")
        return seen.count("cached") >= 30

    wait_until(is_away, 40, "thirty pages without it")
    # Waiting out the recommender's half second is for the first three and one a second, not for
    # everybody.
    assert statistics.median(seconds) < RECOMMEND_MS / 1000
    bring_back()
    wait_until(lambda: ask() == "personal", 20, "the ladder to be climbed again")


def test_it_stops_after_what_it_is_at_and_leaves_nothing(
    start_gateway: Callable[..., Running],
) -> None:
    site = start_gateway(gateway_workers=2)
    assert site.reader().get("/articles?channel_id=1").status == 200

    site.gateway.send(signal.SIGTERM)

    assert site.gateway.wait() == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", site.port), 1)
    assert "Traceback" not in site.gateway.output


def test_ctrl_c_stops_it_even_with_idle_connections(start_gateway: Callable[..., Running]) -> None:
    site = start_gateway()
    with socket.create_connection(("127.0.0.1", site.port)):
        site.gateway.send(signal.SIGINT)

        assert site.gateway.wait() == 0


def test_silent_and_trickling_clients_keep_nobody_out(
    start_gateway: Callable[..., Running],
) -> None:
    """gunicorn's threads wait five seconds on a connection that says nothing, and for ever on one
    that trickles."""
    site = start_gateway(gateway_threads=2)
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            for _ in range(50)
        ]
        # With two threads it would wait for two minutes, and gives up after one.
        assert site.reader().get("/articles?channel_id=1").status == 200

        for one in silent[:2]:
            one.sendall(b"GET /articles HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        stop = threading.Event()
        threading.Thread(target=_trickle, args=(silent[:2], stop), daemon=True).start()
        # Both threads are taken; they are given back after a while, however the two trickle on.
        wait_until(lambda: _status(site.port, "/health/live", 1) == 200, 25, "a free thread")
        stop.set()
    assert "Traceback" not in site.gateway.output


def _trickle(sockets: list[socket.socket], stop: threading.Event) -> None:
    while not stop.wait(0.2):
        for one in sockets:
            try:
                one.sendall(b"x")
            except OSError:
                return


def test_workers_share_their_metrics_and_the_operators_port_is_their_own(
    start_gateway: Callable[..., Running],
) -> None:
    site = start_gateway(gateway_workers=2)
    for _ in range(20):
        assert site.reader().get("/articles?channel_id=1").status == 200

    metrics = _get(site.metrics_port, "/metrics")[1].decode()

    (line,) = [
        line for line in metrics.splitlines() if line.startswith("tidings_feeds_served_total")
    ]
    assert line.endswith(" 20.0")
    assert _status(site.port, "/metrics") == 404


def test_a_worker_that_dies_is_replaced(start_gateway: Callable[..., Running]) -> None:
    site = start_gateway()
    (pid,) = _worker_pids(site)

    os.kill(pid, signal.SIGKILL)

    wait_until(
        lambda: _worker_pids(site) not in ([], [pid]) and site.is_ready(), 30, "a new worker"
    )
    assert site.reader().get("/articles?channel_id=1").status == 200


def _worker_pids(site: Running) -> list[int]:
    assert site.gateway.process is not None
    pid = site.gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def _status(port: int, path: str, timeout_s: float = 5) -> int:
    try:
        return _get(port, path, timeout_s)[0]
    except OSError:
        return 0


def _get(port: int, path: str, timeout_s: float = 5) -> tuple[int, bytes]:
    with _connected(port, timeout_s) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def _connected(port: int, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        yield connection
    finally:
        connection.close()
