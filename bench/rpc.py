"""What a call costs, by every way one could ask for a page of a feed: ten articles with their
tokens, about 3.3 kB.

The machine may be shared, so nothing is compared across time: all servers run at once, each round
asks one after the other, and what is written down are medians over the rounds and ratios between
ways. Instructions are counted by perf, or by valgrind where perf may not, as the difference of two
runs; the neighbours do not disturb them.

    python -m bench.rpc          the table, and var/bench/rpc.json; FULL=1 takes more rounds
"""

from __future__ import annotations

import json
import os
import platform
import random
import select
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import IO

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import TFramedTransport, TMemoryBuffer

from bench.rpc_instructions import measure_instructions, perf_counts
from bench.rpc_processes import way_command
from bench.rpc_ways import CLIENTS, make_thrift_page
from tidings_idl.recommend import UserRecommend, ttypes

FULL = bool(os.environ.get("FULL"))
ROUNDS = 21 if FULL else 9
CALLS = 1000 if FULL else 300
RATE_S = 1.5 if FULL else 0.4
ANSWER_S = 60
CONNECTIONS = 16  # of each server process, where one and two are compared
OUTPUT = Path("var/bench/rpc.json")
PACKAGES = (
    "thrift",
    "thriftpy2",
    "grpcio",
    "protobuf",
    "falcon",
    "gunicorn",
    "fastapi",
    "uvicorn",
    "uvloop",
    "urllib3",
)

NAMES = {
    "c": "C, the same bytes, no work",
    "local": "local call, no network",
    "ours": "Tidings, pages packed",
    "ours-structs": "Tidings, structs",
    "ours-stock": "Tidings, stock framing",
    "thrift": "Apache Thrift, C codec",
    "thriftpy2": "thriftpy2, Cython codec",
    "grpc": "gRPC",
    "grpc-aio": "gRPC, asyncio",
    "falcon": "JSON: Falcon, gunicorn",
    "fastapi": "JSON: FastAPI, uvloop",
}
NETWORKED = [way for way in NAMES if way not in ("c", "local")]
SERVER_CPU = 0


class Process:
    """A child that is asked by lines."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: IO[str] = self._process.stdin
        self._out: IO[str] = self._process.stdout

    def read(self) -> str:
        if not select.select([self._out], [], [], ANSWER_S)[0]:
            raise RuntimeError(f"{self._process.args!r} has not answered for {ANSWER_S} s")
        line = self._out.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return line

    def ask(self, line: str) -> float:
        self._in.write(line + "\n")
        self._in.flush()
        return float(self.read())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


class PingPong:
    """The C program, compiled into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.program = str(folder / "pingpong")
        source = Path(__file__).with_name("pingpong.c")
        subprocess.run(["gcc", "-O2", "-pthread", "-o", self.program, str(source)], check=True)
        self.request = folder / "request"
        self.request.write_bytes(framed_request())

    def serve(self) -> Process:
        return Process(
            *on_server_core(),
            self.program,
            "serve",
            str(self.request.stat().st_size),
            str(reply_bytes()),
        )

    def ask(
        self, port: int, seconds: float, connections: int, *, beside: bool = False
    ) -> tuple[float, float]:
        """Median in microseconds, and calls a second."""
        command = [
            self.program,
            "ask",
            str(port),
            str(self.request),
            str(int(seconds * 1000)),
            str(connections),
        ]
        command = [*on_server_core(), *command] if beside else command
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_S)
        median_ns, per_s = done.stdout.split()
        return int(median_ns) / 1000, float(per_s)


def on_server_core() -> list[str]:
    return ["taskset", "--cpu-list", str(sorted(os.sched_getaffinity(0))[SERVER_CPU])]


def framed_request() -> bytes:
    memory = TMemoryBuffer()
    client = UserRecommend.Client(
        TBinaryProtocolAccelerated(TFramedTransport(memory), fallback=False)
    )
    client.send_user_recommend(ttypes.UserRequest(7, 0, 10, 0))
    data: bytes = memory.getvalue()
    return data


def reply_bytes() -> int:
    memory = TMemoryBuffer()
    protocol = TBinaryProtocolAccelerated(TFramedTransport(memory), fallback=False)
    protocol.writeMessageBegin("user_recommend", 2, 0)
    UserRecommend.user_recommend_result(make_thrift_page(ttypes)).write(protocol)
    protocol.trans.flush()
    return len(memory.getvalue())


class Times:
    """Of one way, for each round: the median call of one connection in microseconds, with its
    client on the server's core and wherever the system puts it; calls a second of eight clients.
    """

    def __init__(self) -> None:
        self.beside_us: list[float] = []
        self.apart_us: list[float] = []
        self.per_s: list[float] = []

    @property
    def p50_us(self) -> float:
        return statistics.median(self.beside_us)

    @property
    def rate(self) -> float:
        return statistics.median(self.per_s)

    def add(self, beside_us: float, apart_us: float, per_s: float) -> None:
        self.beside_us.append(beside_us)
        self.apart_us.append(apart_us)
        self.per_s.append(per_s)


def measure_times(pingpong: PingPong) -> dict[str, Times]:
    times = {way: Times() for way in NAMES}
    with ExitStack() as stack:
        c_port = int(stack.enter_context(pingpong.serve()).read())
        clients = {}
        for way in NETWORKED:
            port = int(stack.enter_context(Process(*way_command("serve", way, SERVER_CPU))).read())
            clients[way] = stack.enter_context(
                Process(*way_command("clients", way, port, SERVER_CPU))
            )
            wait_for(clients[way])
        for _ in range(ROUNDS):
            for way in random.sample(
                list(NAMES), len(NAMES)
            ):  # one that follows a busy one finds the machine warm
                if way == "c":
                    beside_us = pingpong.ask(c_port, RATE_S / 4, 1, beside=True)[0]
                    apart_us = pingpong.ask(c_port, RATE_S / 4, 1)[0]
                    times[way].add(beside_us, apart_us, pingpong.ask(c_port, RATE_S, CLIENTS)[1])
                elif way == "local":
                    took_us = time_local()
                    times[way].add(took_us, took_us, 1e6 / took_us)
                else:
                    ask = clients[way].ask
                    times[way].add(
                        ask(f"beside {CALLS}"), ask(f"apart {CALLS}"), ask(f"rate {RATE_S}")
                    )
    return times


def wait_for(clients: Process) -> None:
    """A server may have its port and not yet answer; its clients try again."""
    clients.ask("apart 50")


def time_local() -> float:
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        make_thrift_page(ttypes)
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e6


def measure_two_processes(pingpong: PingPong) -> tuple[list[float], list[float]]:
    """Calls a second of one process of ours and of two on one port, asked by the C program, which
    costs little.

    One process is measured on each core, since the other core is what the second one gets; and each
    process has as many connections when it is alone as when there are two.
    """
    alone, together = [], []
    with (
        Process(*way_command("serve", "ours", 0)) as first,
        Process(*way_command("serve", "ours", 1)) as second,
        Process(*way_command("serve-shared", "ours", 0, 0)) as shared,
    ):
        ports = int(first.read()), int(second.read())
        port = int(shared.read())
        with Process(*way_command("serve-shared", "ours", port, 1)) as other:
            other.read()
            time.sleep(1)
            for _ in range(ROUNDS):
                alone.append(
                    statistics.mean(pingpong.ask(each, RATE_S, CONNECTIONS)[1] for each in ports)
                )
                together.append(pingpong.ask(port, RATE_S, 2 * CONNECTIONS)[1])
    return alone, together


def main() -> None:
    """Measure every way, print the table and write the figures."""
    with tempfile.TemporaryDirectory() as folder:
        pingpong = PingPong(Path(folder))
        times = measure_times(pingpong)
        alone, together = measure_two_processes(pingpong)
    instructions = measure_instructions(NETWORKED)
    print(
        row(
            "one call, ten articles",
            "p50 µs",
            "÷ C",
            "apart",
            "calls/s, 8 clients",
            "instructions",
            "÷ Thrift",
        )
    )
    stock = sum(instructions["thrift"])
    for way, name in NAMES.items():
        counts = instructions.get(way)
        costs = f"{counts[0] / 1000:,.0f} k + {counts[1] / 1000:,.0f} k" if counts else ""
        ratio = f"{sum(counts) / stock:.2f}" if counts else ""
        took = times[way]
        ratio_c = f"{took.p50_us / times['c'].p50_us:.1f}"
        print(
            row(
                name,
                spread(took.beside_us),
                ratio_c,
                spread(took.apart_us),
                spread(took.per_s),
                costs,
                ratio,
            )
        )
    one, two = statistics.median(alone), statistics.median(together)
    print(
        f"\none server process {spread(alone)} calls/s, two {spread(together)}, asked by a "
        "program in C"
    )
    figures = {
        "instructions_ratio_stock": sum(instructions["ours"]) / stock,
        "p50_ratio_c_pingpong": times["ours"].p50_us / times["c"].p50_us,
        "p50_ratio_grpc": times["ours"].p50_us / times["grpc"].p50_us,
        "p50_apart_ratio_grpc": statistics.median(times["ours"].apart_us)
        / statistics.median(times["grpc"].apart_us),
        "throughput_ratio_grpc": times["ours"].rate / times["grpc"].rate,
        "throughput_ratio_http_falcon": times["ours"].rate / times["falcon"].rate,
        "throughput_ratio_http_fastapi": times["ours"].rate / times["fastapi"].rate,
        "two_process_ratio": two / one,
    }
    write(figures, instructions, times)


def write(
    figures: dict[str, float], instructions: dict[str, tuple[int, int]], times: dict[str, Times]
) -> None:
    about = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.machine(),
        "cpus": cores(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "rounds": ROUNDS,
        "instructions_by": "perf" if perf_counts() else "valgrind",
        "instructions_client_server": instructions,
        "p50_us": {way: round(took.p50_us, 1) for way, took in times.items()},
        "calls_per_s": {way: round(took.rate) for way, took in times.items()},
        **{package: version(package) for package in PACKAGES},
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    OUTPUT.write_text(json.dumps({**rounded, "_about": about}, indent=2) + "\n")
    print(
        f"\n{json.dumps(rounded, indent=2)}\nwritten to {OUTPUT}; 1-minute load {about['load_1m']}"
    )


def row(
    name: str, p50: str, ratio_c: str, apart: str, rate: str, instructions: str, ratio_stock: str
) -> str:
    return f"{name:26}{p50:>21}{ratio_c:>7}{apart:>22}{rate:>29}{instructions:>18}{ratio_stock:>10}"


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
