"""A master with echoing workers as a process of its own, seen from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

from tests.integration.rpc.peers import PATIENCE_S
from tests.lab.servers import free_port, spawn, wait_until

REPOSITORY = Path(__file__).parents[3]


@dataclass
class Workers:
    """A master that runs, seen from outside."""

    process: subprocess.Popen[bytes]
    endpoint: str
    metrics: str
    folder: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What was logged under this name."""
        lines = [line for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def output(self) -> str:
        return (self.folder / "log").read_text()

    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def is_ready(self) -> bool:
        try:
            with urlopen(f"http://{self.metrics}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (HTTPError, OSError):
            return False

    def metric(self, name: str) -> float:
        """The sum over its labels."""
        with urlopen(f"http://{self.metrics}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def wait_for_slow(self) -> None:
        """Until a call of reader SLOW has begun."""
        wait_until((self.folder / "slow").exists, PATIENCE_S, "the slow call")

    def end_slow(self) -> None:
        """Let the calls of reader SLOW be answered, those to come as well."""
        (self.folder / "slow-ends").touch()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)


StartWorkers = Callable[..., Workers]


@contextmanager
def masters(folder: Path) -> Iterator[StartWorkers]:
    """Yields `start(2, idle_timeout_s=1)`, which returns when every worker is ready; with
    `ready=False`: at once.

    Its files are in `folder`, or in one within that has a name. `within` is a command that ends by
    running the one that it is given.
    """
    started: list[Workers] = []
    outer = folder

    def run(
        count: int = 2,
        *,
        bind: str = "",
        ready: bool = True,
        folder: str = "",
        within: Sequence[str] = (),
        **options: float,
    ) -> Workers:
        return start(outer / folder, count, bind, ready=ready, within=within, options=options)

    def start(
        folder: Path,
        count: int,
        bind: str,
        *,
        ready: bool,
        within: Sequence[str],
        options: dict[str, float],
    ) -> Workers:
        folder.mkdir(exist_ok=True)
        bind = bind or f"127.0.0.1:{free_port()}"
        metrics = f"127.0.0.1:{free_port()}"
        (folder / "metrics-bind").write_text(metrics)
        arguments = [
            bind,
            str(count),
            str(folder),
            *(f"{name}={value}" for name, value in options.items()),
        ]
        with (folder / "log").open("ab") as log:
            process = spawn(
                [*within, sys.executable, "-m", "tests.integration.rpc.echo_workers", *arguments],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )
        workers = Workers(process, bind, metrics, folder)
        started.append(workers)
        if ready:
            wait_until(
                lambda: len(workers.lines("rpc_server_started")) == count, PATIENCE_S, "the workers"
            )
            wait_until(workers.is_ready, PATIENCE_S, "readiness")
        return workers

    try:
        yield run
    finally:
        for workers in started:
            with suppress(ProcessLookupError):
                workers.process.kill()
            workers.process.wait()
            # One that is killed cannot remove them itself.
            with suppress(FileNotFoundError):
                shutil.rmtree((workers.folder / "metrics-files").read_text(), ignore_errors=True)
