"""The processes that `bench.rpc` starts: a server or clients of one of the ways.

python -m bench.rpc_processes serve WAY [CPU]             one server; prints its port
python -m bench.rpc_processes serve-shared WAY PORT CPU   one of several on a port
python -m bench.rpc_processes ask WAY PORT N              N calls, for counting instructions
python -m bench.rpc_processes clients WAY PORT CPU        eight client processes, told by
                                                              lines what to do
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection

from bench.rpc_ways import CLIENTS, WAYS


def serve(way: str, cpu: int) -> None:
    pin(cpu)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    WAYS[way].serve(listen(0))


def listen(port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket, whose port is printed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256, reuse_port=shared)
    # Before anybody connects: those who did before gunicorn says so would wait 40 ms for each
    # answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    return listener


def serve_shared(way: str, port: int, cpu: int) -> None:
    """One of several processes on one port."""
    pin(cpu)
    WAYS[way].serve(listen(port, shared=True))


def drive_clients(way: str, port: int, cpu: int) -> None:
    """Read what to measure by lines, and print it.

    `beside CALLS`: the median call of one client on the core `cpu`, in microseconds; `apart CALLS`:
    the same, on the core that the system chooses; `rate SECONDS`: calls a second of all clients
    together.
    """
    pipes = []
    for _ in range(CLIENTS):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=obey, args=(way, port, cpu, theirs), daemon=True
        )
        process.start()
        pipes.append(ours)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # by which the children end too
    for line in sys.stdin:
        verb, amount = line.split()
        asked = pipes if verb == "rate" else pipes[:1]
        for pipe in asked:
            pipe.send((verb, float(amount)))
        print(sum(pipe.recv() for pipe in asked), flush=True)


def obey(way: str, port: int, cpu: int, orders: Connection) -> None:
    call = WAYS[way].make_call(port)
    cores = os.sched_getaffinity(0)
    while True:
        verb, amount = orders.recv()
        if verb == "beside":
            pin(cpu)
        call()
        took: list[float] = []
        began = time.perf_counter()
        while (time.perf_counter() - began < amount) if verb == "rate" else (len(took) < amount):
            started = time.perf_counter()
            call()
            took.append(time.perf_counter() - started)
        elapsed_s = time.perf_counter() - began
        os.sched_setaffinity(0, cores)
        orders.send(len(took) / elapsed_s if verb == "rate" else statistics.median(took) * 1e6)


def way_command(*words: str | int) -> list[str]:
    """How one of these is started."""
    return [sys.executable, "-m", "bench.rpc_processes", *map(str, words)]


def pin(cpu: int) -> None:
    """Spread over two cores, the threads of one interpreter lose a third of their time to each
    other."""
    if cpu >= 0 and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[cpu]})


def main() -> None:
    match sys.argv[1:]:
        case ["serve", way, *cpu]:
            serve(way, int(cpu[0]) if cpu else -1)
        case ["serve-shared", way, port, cpu]:
            serve_shared(way, int(port), int(cpu))
        case ["clients", way, port, cpu]:
            drive_clients(way, int(port), int(cpu))
        case ["ask", way, port, number]:
            call = WAYS[way].make_call(int(port))
            for _ in range(int(number)):
                call()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
