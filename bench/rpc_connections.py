"""What open connections cost a server of ours: memory and throughput with 1 to 10,000, and how one
more is refused.

Nearly all are idle, as the pools of many clients are; eight of them call. A thread waits on each,
so what is looked for is that waiting ones cost memory and nothing else.

    python -m bench.rpc_connections          the table, and var/bench/rpc_connections.json
"""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import REGISTRY

from bench.rpc import PingPong

STEPS = (1, 64, 512, 2_000, 10_000)
ROUNDS = 5 if os.environ.get("FULL") else 3
ASKED_S = 1.0
CALLING = 8
REFUSED = 50
STACK_BYTES = 256 * 1024
REJECTED, HOW = "tidings_rpc_server_connections_rejected_total", ("answered", "closed")
OUTPUT = Path("var/bench/rpc_connections.json")


def allow_files(count: int) -> int:
    """Raise the limit on open files; returns what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def serve(cap: int) -> None:
    """Serve until SIGTERM, and print how many were refused; the port is the first line."""
    import structlog

    from bench.rpc_processes import pin
    from bench.rpc_ways import PageHandler
    from tidings.rpc.serving.options import ServerOptions
    from tidings.rpc.serving.server import make_server
    from tidings_idl.recommend import UserRecommend, ttypes

    allow_files(cap + 1000)
    pin(0)
    threading.stack_size(STACK_BYTES)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    options = ServerOptions(
        max_connections=cap, idle_timeout_s=600, drain_window_s=0, drain_timeout_s=30
    )
    server = make_server(UserRecommend, PageHandler(ttypes), "127.0.0.1:0", options=options)
    signal.signal(signal.SIGTERM, lambda *_: server.drain())
    print(server.port, flush=True)
    server.serve()
    print(
        json.dumps({how: REGISTRY.get_sample_value(REJECTED, {"how": how}) or 0 for how in HOW}),
        flush=True,
    )


def refuse(port: int, request: bytes) -> tuple[dict[str, int], float]:
    """How connections over the cap end, and the slowest of them in milliseconds."""
    ends = dict.fromkeys(HOW, 0)
    slowest_s = 0.0
    for _ in range(REFUSED):
        started = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as over:
            try:
                over.sendall(request)
                answer = over.recv(65536)
            except ConnectionError:
                answer = b""
        slowest_s = max(slowest_s, time.perf_counter() - started)
        ends["answered" if b"too many connections" in answer else "closed"] += 1
    return ends, slowest_s * 1000


def measure(pingpong: PingPong, connections: int) -> dict[str, Any]:
    """One server whose cap is that many connections: `CALLING` of them call, the others wait."""
    cap = max(connections, CALLING)
    command = [sys.executable, "-m", "bench.rpc_connections", "serve", str(cap)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        process = psutil.Process(server.pid)
        idle: list[socket.socket] = []
        try:
            before_mib = process.memory_info().rss / 2**20
            idle += (
                socket.create_connection(("127.0.0.1", port))
                for _ in range(max(0, connections - CALLING))
            )
            callers = min(connections, CALLING)
            while process.num_threads() < len(idle):
                time.sleep(0.05)
            rates, medians = [], []
            for _ in range(ROUNDS):
                medians.append(pingpong.ask(port, ASKED_S / 4, 1)[0])
                rates.append(pingpong.ask(port, ASKED_S, callers)[1])
            with_idle_mib = process.memory_info().rss / 2**20
            idle += (socket.create_connection(("127.0.0.1", port)) for _ in range(cap - len(idle)))
            time.sleep(0.5)
            ends, slowest_ms = refuse(port, pingpong.request.read_bytes())
        finally:
            for each in idle:
                each.close()
            server.send_signal(signal.SIGTERM)
            counted = json.loads(server.stdout.readline())
    return {
        "rss_mib": with_idle_mib,
        "kib_each": (with_idle_mib - before_mib) * 1024 / connections,
        "p50_us": statistics.median(medians),
        "per_s": statistics.median(rates),
        "refused": ends,
        "counted": counted,
        "slowest_refusal_ms": slowest_ms,
    }


def main() -> None:
    """Measure each number of connections, print the table and write the figures."""
    most = allow_files(STEPS[-1] + 1000) - 1000
    figures: dict[str, Any] = {}
    names = (
        "connections",
        "RSS MiB",
        "KiB each",
        "p50 µs",
        "calls/s",
        "refused",
        "slowest ms",
        "counted",
    )
    print("".join(f"{name:>12}" for name in names))
    with tempfile.TemporaryDirectory() as folder:
        pingpong = PingPong(Path(folder))
        for connections in STEPS:
            if connections > most:
                print(f"{connections:>12,} is more than this user may open ({most:,})")
                continue
            got = measure(pingpong, connections)
            counted = int(sum(got["counted"].values()))
            refused = sum(got["refused"].values())
            numbers = (
                got["rss_mib"],
                got["kib_each"],
                got["p50_us"],
                got["per_s"],
                refused,
                got["slowest_refusal_ms"],
            )
            print(
                f"{connections:>12,}"
                + "".join(f"{number:>12,.0f}" for number in (*numbers, counted))
            )
            for name in ("rss_mib", "p50_us", "per_s", "slowest_refusal_ms"):
                figures[f"{name}_{connections}"] = round(got[name], 1)
            figures[f"refused_uncounted_{connections}"] = REFUSED - counted
    about = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(
        json.dumps({**figures, "_about": about | {"python": platform.python_version()}}, indent=2)
        + "\n"
    )
    print(f"written to {OUTPUT}; 1-minute load {about['load_1m']}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["serve", cap]:
            serve(int(cap))
        case _:
            sys.exit(__doc__)
