"""Counts the instructions of a call, which neighbours on the machine do not disturb.

By perf, or by valgrind where perf may not: client and server are counted over two numbers of calls,
and the difference is what the calls cost.

    measure_instructions(WAYS)  # way -> the client's and the server's, of one call
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.rpc_processes import way_command

ANSWER_S = 600
COUNTED_CALLS = (1000, 3000)
COUNTED_CALLS_VALGRIND = (100, 600)


@contextmanager
def counter() -> Iterator[Any]:
    """Gives `count(command) -> (command that is counted, function that reads the count)`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = iter(range(1_000_000))

        def by_perf(command: list[str]) -> tuple[list[str], Any]:
            log = folder / str(next(numbers))
            counted = [
                "perf",
                "stat",
                "-x,",
                "-e",
                "instructions:u",
                "-o",
                str(log),
                "--",
                *command,
            ]
            return counted, lambda: int(re.findall(r"^(\d+),", log.read_text(), re.MULTILINE)[-1])

        def by_valgrind(command: list[str]) -> tuple[list[str], Any]:
            log = folder / str(next(numbers))
            tool = [
                "valgrind",
                "--tool=callgrind",
                "--callgrind-out-file=/dev/null",
                f"--log-file={log}",
            ]
            return [*tool, *command], lambda: int(
                re.findall(r"Collected : (\d+)", log.read_text())[-1]
            )

        yield by_perf if perf_counts() else by_valgrind


def perf_counts() -> bool:
    try:
        command = ["perf", "stat", "-x,", "-e", "instructions:u", "true"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0 and re.search(r"^\d+,", done.stderr, re.MULTILINE) is not None


def count_instructions(count: Any, way: str, calls: tuple[int, int]) -> tuple[int, int]:
    """User instructions of one call: the client's and the server's."""
    clients, servers = [], []
    # Two runs with different seeds put their dictionaries into different order, which is a few in a
    # hundred.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    for number in calls:
        command, read_server = count(way_command("serve", way))
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        time.sleep(1)
        command, read_client = count(way_command("ask", way, port, number))
        subprocess.run(
            command, check=True, stderr=subprocess.DEVNULL, timeout=ANSWER_S, env=environment
        )
        for child in children_of(server.pid):
            os.kill(child, signal.SIGTERM)
        server.wait(60)
        server.stdout.close()
        clients.append(read_client())
        servers.append(read_server())
    each = calls[1] - calls[0]
    return (clients[1] - clients[0]) // each, (servers[1] - servers[0]) // each


def children_of(pid: int) -> list[int]:
    """perf runs what it counts as its child; valgrind is the process itself."""
    children = [
        int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]
    return children or [pid]


def measure_instructions(ways: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Of each way; by valgrind, which takes long, of ours and Thrift's."""
    with counter() as count:
        if perf_counts():
            return {way: count_instructions(count, way, COUNTED_CALLS) for way in ways}
        few = ("ours", "ours-structs", "ours-stock", "thrift")
        return {way: count_instructions(count, way, COUNTED_CALLS_VALGRIND) for way in few}
