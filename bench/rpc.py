"""What a call costs: our server and client beside Apache Thrift's own, in one run.

Ours has pool, deadline, request id and metrics on; Thrift's is `TThreadedServer` and the generated client, framed,
binary, with the C codec. Every way answers with the same ten articles, from a server process of its own. Time is taken
in interleaved rounds, because the machine may be shared: compare the ratios, not the milliseconds. Instructions are
counted by valgrind, which the neighbours do not disturb; the difference of two runs leaves the start out.

    python -m bench.rpc               the table, and var/bench/rpc.json
    python -m bench.rpc serve WAY     one server; prints its port
    python -m bench.rpc ask WAY PORT N
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated, TBinaryProtocolAcceleratedFactory
from thrift.server.TServer import TThreadedServer
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TFramedTransport, TFramedTransportFactory

from tidings.rpc.client import make_client
from tidings.rpc.policy import Policy
from tidings.rpc.server import ServerOptions, make_server
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import Article, ArticleResponse, Track, UserRequest

WAYS = {"ours": "Tidings, lean", "ours-stock": "Tidings, stock framing", "thrift": "Apache Thrift"}
ROUNDS = 9 if os.environ.get("FULL") else 5
CALLS = 2000
CLIENTS = 8
COUNTED = (100, 400)
TOKEN = "AQATkcXbfsmWAAAAAAAAAaIHxA_OAAAAAAAAADAAAmsECTvqjekHmxy-dxw3KIiARY4d"
OUTPUT = Path("var/bench/rpc.json")


class Handler:
    """Makes its answer anew for each call, as a recommender does."""

    def user_recommend(self, _request: UserRequest) -> ArticleResponse:
        articles = [Article(1000 + n, Track(*(f"{TOKEN}{n}{action}" for action in "ABCD"))) for n in range(10)]
        return ArticleResponse(TOKEN, 1_795_387_012_006, articles)

    def report(self, _request: object) -> None:
        """Not asked here."""

    def is_healthy(self, _probe: int) -> bool:
        return True


def serve(way: str) -> None:
    """Serve until SIGTERM; the port is the first line of output."""
    if way == "thrift":
        listener = TServerSocket("127.0.0.1", 0)
        listener.listen()
        print(listener.handle.getsockname()[1], flush=True)
        listener.listen = lambda: None
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        processor = UserRecommend.Processor(Handler())
        codec = TBinaryProtocolAcceleratedFactory(fallback=False)
        TThreadedServer(processor, listener, TFramedTransportFactory(), codec, daemon=True).serve()
        return
    options = ServerOptions(drain_window_s=0, lean=way == "ours")
    server = make_server(UserRecommend, Handler(), "127.0.0.1:0", options=options)
    signal.signal(signal.SIGTERM, lambda *_: server.drain())
    print(server.port, flush=True)
    server.serve()


def make_call(way: str, port: int) -> Callable[[], Any]:
    """A function that makes one call; for one thread."""
    request = UserRequest(7, 0, 10, 0)
    if way == "thrift":
        transport = TFramedTransport(TSocket("127.0.0.1", port))
        client = UserRecommend.Client(TBinaryProtocolAccelerated(transport, fallback=False))
        transport.open()
        return lambda: client.user_recommend(request)
    policy = Policy(timeout_ms=60_000, connect_timeout_ms=60_000, connection_max_age_s=3600, lean=way == "ours")
    ours = make_client(UserRecommend, [f"127.0.0.1:{port}"], policy=policy, caller="bench")
    return lambda: ours.call("user_recommend", request)


@contextmanager
def server_of(way: str, *before: str) -> Iterator[int]:
    """A server process, behind the command `before`; gives its port."""
    command = [*before, sys.executable, "-m", "bench.rpc", "serve", way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield port
        finally:
            process.terminate()
            process.wait(60)


def time_calls(way: str, port: int) -> float:
    """The median call of one connection, in microseconds."""
    call = make_call(way, port)
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e6


def count_calls(way: str, port: int) -> float:
    """Calls a second that one server process answers to eight connections of another."""

    def ask() -> None:
        call = make_call(way, port)
        for _ in range(CALLS // 2):
            call()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return CLIENTS * (CALLS // 2) / (time.perf_counter() - started)


def count_instructions(way: str) -> tuple[int, int]:
    """User instructions of one call: the client's and the server's."""
    totals = []
    for number in COUNTED:
        with tempfile.TemporaryDirectory() as folder:
            client, server = Path(folder) / "client", Path(folder) / "server"
            ask = [sys.executable, "-m", "bench.rpc", "ask", way]
            with server_of(way) as port:
                subprocess.run([*valgrind(client), *ask, str(port), str(number)], check=True)
            with server_of(way, *valgrind(server)) as port:
                subprocess.run([*ask, str(port), str(number)], check=True)
            totals.append([int(re.findall(r"Collected : (\d+)", file.read_text())[-1]) for file in (client, server)])
    calls = COUNTED[1] - COUNTED[0]
    return (totals[1][0] - totals[0][0]) // calls, (totals[1][1] - totals[0][1]) // calls


def valgrind(log: Path) -> list[str]:
    return ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]


def main() -> None:
    """Measure every way, print the table and write the figures."""
    p50_us: dict[str, list[float]] = {way: [] for way in WAYS}
    per_s: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            with server_of(way) as port:
                p50_us[way].append(time_calls(way, port))
                per_s[way].append(count_calls(way, port))
    instructions = {way: count_instructions(way) for way in WAYS}
    print(f"{'':24}{'p50 µs':>24}{'calls/s, 8 clients':>24}{'instructions, client + server':>34}{'÷ Thrift':>10}")
    stock = sum(instructions["thrift"])
    for way, name in WAYS.items():
        client, server = instructions[way]
        print(
            f"{name:24}{spread(p50_us[way]):>24}{spread(per_s[way]):>24}"
            f"{f'{client:,} + {server:,}':>34}{(client + server) / stock:>10.2f}"
        )
    figures = {
        "instructions_ratio_stock": round(sum(instructions["ours"]) / stock, 3),
        "p50_ratio_stock": round(statistics.median(p50_us["ours"]) / statistics.median(p50_us["thrift"]), 3),
        "throughput_ratio_stock": round(statistics.median(per_s["ours"]) / statistics.median(per_s["thrift"]), 3),
        "_about": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "thrift": version("thrift"),
            "rounds": ROUNDS,
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {OUTPUT}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    match sys.argv[1:]:
        case []:
            main()
        case ["serve", way]:
            serve(way)
        case ["ask", way, port, number]:
            call = make_call(way, int(port))
            for _ in range(int(number)):
                call()
        case _:
            sys.exit(__doc__)
