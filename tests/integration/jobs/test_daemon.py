"""The daemon as a process: it starts, expires orders, says how it is, drains, and is taken for dead
when it is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from jobs.tables import daemon, job_run
from tests.lab.servers import free_port, spawn, wait_until
from tidings.commands.main import main
from tidings.store.delayed_tables import delayed_job

REPOSITORY = Path(__file__).parents[3]
Start = Callable[..., "Running"]
NOTHING_OVERDUE = 'tidings_jobs_oldest_due_age_seconds{kind="order_timeout"} 0.0'
ONE_DONE = 'tidings_jobs_delayed_total{kind="order_timeout",outcome="done"} 1.0'


class Running:
    """A daemon process and its operators' port."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.port = int(env["TIDINGS_JOBS_METRICS_BIND"].rpartition(":")[2])
        self.log = log
        with log.open("ab") as output:
            self.process = spawn(
                [sys.executable, "-m", "jobs"], env=env, cwd=REPOSITORY, stderr=output
            )

    def get(self, path: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as ex:
            with ex:
                return ex.code, ""
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        wait_until(
            lambda: self.get("/health/ready")[0] == 200 or self.process.poll() is not None,
            30,
            "the daemon",
        )
        assert self.process.poll() is None, self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(
    database_url: str, redis_url: str, environment: Callable[..., dict[str, str]], tmp_path: Path
) -> Iterator[Start]:
    started: list[Running] = []

    def start(**values: Any) -> Running:
        bind = f"127.0.0.1:{free_port()}"
        chosen = {"database_url": database_url, "redis_url": redis_url, "jobs_metrics_bind": bind}
        env = environment(**chosen | values)
        started.append(Running(env, tmp_path / f"daemon{len(started)}.log"))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_it_runs_its_jobs_expires_orders_and_drains(start: Start, shop: Any) -> None:
    running = start()
    running.wait_ready()
    order = shop.order((1, 2), timeout_s=0.2)
    wait_until(lambda: shop.read(order.order_id).status == "cancelled", 20, "the order to expire")

    def done() -> set[str]:
        with shop.engine.connect() as conn:
            return set(conn.scalars(select(job_run.c.job).where(job_run.c.state == "done")))

    wait_until(lambda: {"popularity", "behaviour_fold"} <= done(), 10, "static jobs to catch up")
    wait_until(
        # Counted once it is committed.
        lambda: {NOTHING_OVERDUE, ONE_DONE} <= set(running.get("/metrics")[1].splitlines()),
        20,
        "a look that finds nothing due, and the count",
    )
    with shop.engine.connect() as conn:
        assert conn.scalars(select(daemon.c.pid)).all() == [running.process.pid]
    assert running.stop() == 0, running.log.read_text()
    with shop.engine.connect() as conn:
        assert conn.scalars(select(daemon.c.pid)).all() == []
    assert "drain_timed_out" not in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_what_came_due_while_no_daemon_ran_is_done_at_once(start: Start, shop: Any) -> None:
    """APScheduler's grace of one second drops it: nothing is run, and the job is gone."""
    placed = [shop.order((n % 5 + 1, 1), timeout_s=0) for n in range(30)]
    time.sleep(1.2)
    start().wait_ready()
    wait_until(
        lambda: all(shop.read(order.order_id).status == "cancelled" for order in placed),
        20,
        "all to expire",
    )
    assert shop.quantities() == shop.ledger() == dict.fromkeys(range(1, 6), 100)


def test_it_goes_on_without_redis(start: Start, shop: Any) -> None:
    start(redis_url=f"redis://127.0.0.1:{free_port()}/0").wait_ready()
    order = shop.order(timeout_s=0.1)
    wait_until(lambda: shop.read(order.order_id).status == "cancelled", 20, "the order to expire")


def test_a_frozen_daemon_that_thaws_goes_on(start: Start, shop: Any) -> None:
    """The watching thread wakes first and sees an old look; that must not be taken for silence."""
    running = start()
    running.wait_ready()
    # Placed before: the daemon may be frozen while it holds SQLite's one lock for writing.
    order = shop.order(timeout_s=7)
    os.kill(running.process.pid, signal.SIGSTOP)
    time.sleep(8)
    assert shop.read(order.order_id).status == "unpaid"
    os.kill(running.process.pid, signal.SIGCONT)
    wait_until(lambda: shop.read(order.order_id).status == "cancelled", 20, "the order to expire")
    time.sleep(1.5)
    assert running.process.poll() is None, running.log.read_text()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jobs_metrics_bind": "127.0.0.1:{taken}"}, "TIDINGS_JOBS_METRICS_BIND"),
        ({"payment_provider": "sandbxo"}, "TIDINGS_PAYMENT_PROVIDER: expected one of"),
        ({"database_url": "sqlite:////tmp/no/such/folder/db"}, "revision|folder|unable"),
    ],
)
def test_a_bad_start_is_one_line_and_exit_code_2(
    environment: Any,
    sqlite_url: str,
    redis_server: Any,
    values: dict[str, str],
    message: str,
    tmp_path: Path,
) -> None:
    filled = {name: value.format(taken=redis_server.port) for name, value in values.items()}
    filled = {name: value.replace("/tmp/no/such", str(tmp_path)) for name, value in filled.items()}
    env = environment(**{"database_url": sqlite_url, "redis_url": redis_server.url, **filled})
    done = subprocess.run(
        [sys.executable, "-m", "jobs"],
        env=env,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert re.search(message, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_the_command_line_by_hand(
    shop: Any, database_url: str, redis_url: str, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(database_url=database_url, redis_url=redis_url).items():
        monkeypatch.setenv(name, value)

    def jobs(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["jobs", *arguments])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    order = shop.order(timeout_s=60)
    name = f"order_timeout:{order.order_id}"
    listed = [json.loads(line) for line in jobs("list", "--json").splitlines()]
    assert [row["waiting"] for row in listed if row["type"] == "delayed"] == [1]
    assert {row["type"] for row in listed} == {"static", "delayed"}
    assert "popularity" in jobs("list")
    assert name in jobs("next", "--json")
    assert '"state":"waiting"' in jobs("show", name, "--json")
    jobs("pause", "order_timeout")
    assert "paused" in jobs("list", "--json")
    assert name not in jobs("next", "--json")
    jobs("resume", "order_timeout")
    for verb in ("pause", "resume"):
        refused = jobs(verb, "order_timeuot", code=2)
        assert "there are delete_article, order_timeout" in refused
    jobs("retry", name)
    jobs("requeue", name, code=1)
    with shop.engine.begin() as conn:
        conn.execute(delayed_job.update().values(state="dead", last_error="why"))
    assert '"last_error":"why"' in jobs("dead", "--json")
    jobs("requeue", name)
    jobs("cancel", name)
    jobs("cancel", name, code=1)
    jobs("show", "nonsense", code=2)
    jobs("publish", "99", "--at", "2030-01-01T18:00", code=1)
    # A nightly one: one of each minute is due anew where the minute ends in between.
    assert "done" in jobs("run", "books")
    assert "done" in jobs("run", "books", "--again")
    assert "already run" in jobs("run", "books")
    jobs("run", "no-such-job", code=2)
    assert '"job":"books"' in jobs("history", "books", "--json")
