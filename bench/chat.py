"""What a chat server costs and how quick it is: ours, and three others that one could take.

The machine may be shared, so nothing is compared across time: all servers run at once, each round
asks one after the other in an order drawn anew, and what is written down are medians over the
rounds and ratios within them.

    python -m bench.chat          the table, and var/bench/chat.json; FULL=1 takes more rounds
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.chat_nodes import measure_shed, measure_storm, measure_two_nodes, serve_ours
from bench.chat_stacks import (
    NAMES,
    OURS,
    PEERS,
    Crowd,
    Seen,
    Server,
    Stall,
    measure,
    measure_stall,
    serve_with_crowd,
)
from bench.chat_wire import allow_files
from bench.jobs_site import DurableMariaDB
from tests.faults.chat_site import ChatSite, start_chat
from tests.lab.servers import RedisServer

FULL = bool(os.environ.get("FULL"))
ROUNDS = 25 if FULL else 9
TWO_NODES_S = 60.0 if FULL else 15.0
FEW, MANY = 1_000, 10_000
OUTPUT = Path("var/bench/chat.json")
PACKAGES = ("gevent", "gunicorn", "websockets", "falcon", "uvicorn", "uvloop", "python-socketio")


@contextmanager
def open_site() -> Iterator[ChatSite]:
    """MariaDB as in production, and a Redis."""
    with ExitStack() as stack:
        one, two, three = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
            for _ in range(3)
        )
        database = stack.enter_context(DurableMariaDB(one))
        redis = stack.enter_context(RedisServer(two, ()))
        yield stack.enter_context(start_chat(three, database, redis))


def main() -> None:
    """Measure everything, print the tables and write the figures."""
    allow_files()
    with open_site() as site:

        def serve(name: str) -> AbstractContextManager[tuple[Server, Crowd]]:
            return serve_ours(site) if name == OURS else serve_with_crowd(name)

        seen = {number: measure(serve, list(NAMES), number, ROUNDS) for number in (FEW, MANY)}
        for number, stacks in seen.items():
            _tell(number, stacks)
        stalls = {name: measure_stall(serve, name) for name in NAMES}
        _tell_stalls(stalls)
        alone = measure_two_nodes(site, TWO_NODES_S)
        alone |= measure_shed(site, MANY)
        alone |= measure_storm(site, MANY)
    ours = seen[MANY][OURS]
    best_ms = min(seen[MANY][name].fan_out_ms for name in PEERS)
    best_us = min(seen[MANY][name].cpu_us for name in PEERS)
    figures = {
        "kib_per_connection": ours.kib_each,
        "kernel_kib_per_connection": ours.kernel_kib_each,
        "fanout_10k_ms": ours.fan_out_ms,
        "fanout_ratio_best_peer": ours.fan_out_ms / best_ms,
        "fanout_cpu_ratio_best_peer": ours.cpu_us / best_us,
        "stalled_reader_mib": stalls[OURS].mib_each,
        "stalled_beside_ratio": stalls[OURS].beside_ms / stalls[OURS].before_ms,
        **alone,
    }
    for number, stacks in seen.items():
        for name, of_one in stacks.items():
            figures[f"kib_{name}_{number}"] = of_one.kib_each
            figures[f"fanout_ms_{name}_{number}"] = of_one.fan_out_ms
            figures[f"delivery_us_{name}_{number}"] = of_one.cpu_us
    print()
    for name, value in figures.items():
        print(f"{name:32}{value:10.3f}")
    _write(figures)


def _tell(number: int, stacks: dict[str, Seen]) -> None:
    print(
        f"\n{number:,} connections{'KiB each':>26}{'kernel':>9}{'to all, ms':>24}"
        f"{'CPU µs each':>14}{'1:1 p50 ms':>12}{'p99':>8}"
    )
    for name, of_one in stacks.items():
        times = f"{of_one.fan_out_ms:.0f} ({min(of_one.all_ms):.0f} to {max(of_one.all_ms):.0f})"
        relayed = of_one.relayed
        one_to_one = f"{relayed['p50_ms']:12.2f}{relayed['p99_ms']:8.1f}" if relayed else ""
        missed = f"  {of_one.missing} missed" if of_one.missing else ""
        print(
            f"{NAMES[name]:30}{of_one.kib_each:12.1f}{of_one.kernel_kib_each:9.1f}{times:>24}"
            f"{of_one.cpu_us:14.1f}{one_to_one}{missed}",
            flush=True,
        )


def _tell_stalls(stalls: dict[str, Stall]) -> None:
    print(
        f"\n{'a reader who never reads':30}{'MiB':>12}{'others p99 ms':>16}{'beside':>9}  cut off"
    )
    for name, stall in stalls.items():
        print(
            f"{NAMES[name]:30}{stall.mib_each:12.2f}{stall.before_ms:16.1f}{stall.beside_ms:9.1f}"
            f"  {stall.cut_off}, others missed {stall.missing}",
            flush=True,
        )


def _write(figures: dict[str, float]) -> None:
    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": ROUNDS,
        "versions": {name: version(name) for name in PACKAGES},
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    OUTPUT.write_text(json.dumps({**rounded, "_about": about}, indent=2) + "\n")
    print(f"written to {OUTPUT}; 1-minute load {about['load_1m']}")


if __name__ == "__main__":
    main()
