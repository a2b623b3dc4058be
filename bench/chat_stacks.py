"""The servers that `bench.chat` holds against each other, each with a crowd of its own: how much
memory a connection takes, how long one message takes to all, and what a reader who never reads
costs.

All serve at once and are asked by turns in an order drawn anew, so that a busy neighbour meets all
of them. Beside the time stands the processor time of a delivery, which neighbours hardly change.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.chat_wire import allow_files

PEERS = {
    "socketio": "python-socketio, gevent",
    "falcon": "Falcon ASGI, uvicorn, uvloop",
    "websockets": "websockets, asyncio",
}
OURS = "tidings"
NAMES = {OURS: "Tidings, gevent", **PEERS}
ANSWER_S = 600.0
SPARE_FILES = 200
SERVER_CORE, CROWD_CORE = 0, 1
SETTLE_S = 2.0
RELAY_S = 5.0
PAGE_KIB = os.sysconf("SC_PAGESIZE") / 1024
STALLED, BESIDE = 10, 200
# 4.4 MiB for each reader, which is more than the kernel takes in for one that does not read.
BURST = {"number": 300, "per_s": 25, "kib": 15}


class Crowd:
    """A process of clients, asked by lines of JSON; its command follows `before`."""

    def __init__(
        self, dialect: str, env: dict[str, str] | None = None, before: Sequence[str] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "bench.chat_crowd", dialect],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
        )

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with self.process:  # closes its pipes and waits for its end
            pass

    def begin(self, verb: str, **order: Any) -> None:
        """Have it do something, and go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": verb, **order}) + "\n")
        self.process.stdin.flush()

    def has_answered(self) -> bool:
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def end(self) -> dict[str, Any]:
        """What came of it."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], ANSWER_S)[0]:
            raise RuntimeError(f"the crowd has not answered for {ANSWER_S} s")
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, verb: str, **order: Any) -> dict[str, Any]:
        self.begin(verb, **order)
        return self.end()


def on_core(number: int) -> list[str]:
    """What a command begins with that is to stay on one core: where the system puts a server and
    the clients that it wakes, on one or on two, changes from one minute to the next."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(cores[number % len(cores)])]


@dataclass
class Server:
    """A server process, with its workers."""

    pid: int
    port: int

    def processes(self) -> list[psutil.Process]:
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]

    def rss_kib(self) -> float:
        return float(sum(each.memory_info().rss for each in self.processes())) / 1024

    def cpu_ns(self) -> int:
        """How long its threads have run; `times` counts in hundredths of a second only."""
        tasks = (
            task
            for each in self.processes()
            for task in Path(f"/proc/{each.pid}/task").glob("*/schedstat")
        )
        return sum(int(task.read_text().split()[0]) for task in tasks)


@contextmanager
def serve_peer(name: str) -> Iterator[Server]:
    """One of the others, serving until the block ends."""
    command = [*on_core(SERVER_CORE), sys.executable, "-m", "bench.chat_peers", name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Server(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


def kernel_kib() -> float:
    """What the kernel holds for sockets: their buffers, and the objects in its slabs.

    Both ends of each connection are on this machine; half of it is the server's.
    """
    sockstat = Path("/proc/net/sockstat").read_text().split()
    buffers = int(sockstat[sockstat.index("mem") + 1]) * PAGE_KIB
    slab = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "Slab:" in line)
    return buffers + int(slab.split()[1])


@dataclass
class Seen:
    """Of one stack with so many connections."""

    connections: int
    kib_each: float = 0.0
    kernel_kib_each: float = 0.0
    all_ms: list[float] = field(default_factory=list)
    delivery_us: list[float] = field(default_factory=list)
    missing: int = 0
    relayed: dict[str, Any] = field(default_factory=dict)

    @property
    def fan_out_ms(self) -> float:
        return statistics.median(self.all_ms)

    @property
    def cpu_us(self) -> float:
        return statistics.median(self.delivery_us)


Serve = Callable[[str], AbstractContextManager[tuple[Server, Crowd]]]


@contextmanager
def serve_with_crowd(name: str) -> Iterator[tuple[Server, Crowd]]:
    """A peer, and clients who speak as it does."""
    dialect = "socketio" if name == "socketio" else "plain"
    with serve_peer(name) as server, Crowd(dialect, before=on_core(CROWD_CORE)) as crowd:
        yield server, crowd


def measure(serve: Serve, names: Sequence[str], connections: int, rounds: int) -> dict[str, Seen]:
    """All of them with so many connections each."""
    seen = {name: Seen(most_connections(name, connections)) for name in names}
    with ExitStack() as stack:
        running = {name: stack.enter_context(serve(name)) for name in names}
        for name, (server, crowd) in running.items():
            _join(seen[name], server, crowd)
        for turn in range(rounds + 1):
            for name in random.sample(list(names), len(names)):
                server, crowd = running[name]
                before_ns = server.cpu_ns()
                got = crowd.ask("fan_out", marker=f"all-{turn}")
                if turn == 0:  # the first one finds everything cold
                    continue
                seen[name].all_ms.append(got["all_ms"])
                seen[name].missing += got["missing"]
                spent_us = (server.cpu_ns() - before_ns) / 1000
                seen[name].delivery_us.append(spent_us / seen[name].connections)
        for name in set(names) - {OURS}:
            seen[name].relayed = running[name][1].ask("relay", per_s=1000, seconds=RELAY_S)
    return seen


def most_connections(name: str, wanted: int) -> int:
    """python-socketio's WebSocket takes two files for each."""
    return min(wanted, (allow_files() - SPARE_FILES) // (2 if name == "socketio" else 1))


def _join(seen: Seen, server: Server, crowd: Crowd) -> None:
    connections = seen.connections
    time.sleep(SETTLE_S)
    rss_kib, in_kernel_kib = server.rss_kib(), kernel_kib()
    joined = crowd.ask("connect", number=connections, ports=[server.port])
    assert joined["joined"] == connections, joined
    time.sleep(SETTLE_S)
    seen.kib_each = (server.rss_kib() - rss_kib) / connections
    seen.kernel_kib_each = (kernel_kib() - in_kernel_kib) / connections / 2


@dataclass(frozen=True, slots=True)
class Stall:
    """What a reader who never reads costs a server; how late the others had a message, without some
    of them and with them; and how many of them the server has cut off in the end."""

    mib_each: float
    before_ms: float
    beside_ms: float
    missing: int
    cut_off: int


def measure_stall(serve: Serve, name: str) -> Stall:
    """Two bursts of messages to two hundred; during the second one `STALLED` more never read."""
    with serve(name) as (server, crowd):
        time.sleep(SETTLE_S)
        crowd.ask("connect", number=BESIDE, ports=[server.port])
        before = crowd.ask("burst", **BURST)
        held_kib = server.rss_kib()
        crowd.ask("connect", number=STALLED, ports=[server.port])
        crowd.ask("stall", number=STALLED)
        crowd.begin("burst", **BURST)
        most_kib = 0.0
        while not crowd.has_answered():
            most_kib = max(most_kib, server.rss_kib() - held_kib + unsent_kib(server.port))
            time.sleep(0.2)
        beside = crowd.end()
    return Stall(
        mib_each=most_kib / STALLED / 1024,
        before_ms=before["p99_ms"],
        beside_ms=beside["p99_ms"],
        missing=beside["missing"],
        cut_off=STALLED - beside["stalled_open"],
    )


def unsent_kib(port: int) -> float:
    """What the kernel holds for the sockets of a server that has not been read at the other end."""
    command = ["ss", "--tcp", "--memory", "--numeric", "--no-header", "sport", "=", f":{port}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sum(int(found) for found in re.findall(r",w(\d+)", told)) / 1024
