"""Clients of the gateway that take more than their share, and a household that takes no more than
that, as processes of their own.

A client that is to be a burden must not be one for the machine: the gateway has two cores, and a
thousand threads here would starve it before any of its own bounds is reached. So a process of
clients is one event loop. Rejected: a load generator from outside, of which none drips.

    with running(Plan("idle", port=8000, number=200, late_s=2.2, readers=readers)) as rude:
        seen = rude.stop()
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec

from tests.faults.gateway_wire import PATIENCE_S, Client, Crowd, Plan, Seen
from tests.lab.servers import spawn

REPOSITORY = Path(__file__).parents[2]
DRIP_S = 0.5


class Rude(Client):
    """A connection whose request is never meant to be answered, so that it is not counted."""

    drop = b""

    def start_clock(self) -> None:
        """Nothing is expected."""

    def answered(self, status: int, head: bytes, _body: bytes) -> None:
        self.crowd.statuses[str(status)] += 1

    def drip(self) -> None:
        if self.wire is not None and self.drop:
            self.wire.write(self.drop)


class DrippingHead(Rude):
    """A head without an end, a line at a time."""

    drop = b"X-More: and more\r\n"


class StalledBody(Rude):
    """A long body that comes byte by byte."""

    drop = b" "


class NeverReading(Rude):
    """Thirty long answers, of which not a byte is read."""

    receive_buffer = 2048

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()


class Idle(Rude):
    """One usual request, and then silence over a connection that stays open."""


def get(path: str, reader: str = "") -> bytes:
    """A request of a program that has been here before, if it has an id."""
    known = f"X-Reader: {reader}\r\n" if reader else ""
    return f"GET {path} HTTP/1.1\r\nHost: news.example\r\n{known}\r\n".encode()


def post(path: str, body: str, *headers: str, length: int = 0) -> bytes:
    head = "\r\n".join(
        (f"POST {path} HTTP/1.1", "Host: news.example", "Content-Type: application/json", *headers)
    )
    return f"{head}\r\nContent-Length: {length or len(body)}\r\n\r\n{body}".encode()


async def be_rude(crowd: Crowd, kind: type[Rude], request: bytes) -> None:
    """Hold as many connections as the plan says, each with one request that goes nowhere."""
    clients = [kind(crowd, lambda: request) for _ in range(crowd.plan.number)]
    await open_all(clients)
    crowd.run(keep_dripping(crowd, clients))


async def keep_dripping(crowd: Crowd, clients: list[Rude]) -> None:
    while not crowd.is_over:
        await asyncio.sleep(DRIP_S)
        for client in clients:
            client.drip()


async def open_all(clients: list[Client] | list[Rude]) -> None:
    """A few dozen at a time, so that the listener's queue is no bottleneck of this side's."""
    for first in range(0, len(clients), 50):
        await asyncio.gather(*(client.open() for client in clients[first : first + 50]))


async def ask_without_end(crowd: Crowd, requests: list[Callable[[], bytes]]) -> None:
    """Each connection asks again as soon as it is answered, or when it was told to."""

    def again(client: Client, wait_s: float) -> None:
        if wait_s:
            crowd.loop.call_later(wait_s, client.ask)
        else:
            client.ask()

    await open_all([Client(crowd, request, again) for request in requests])


async def ask_at_a_rate(crowd: Crowd, requests: list[Callable[[], bytes]]) -> None:
    """So many requests a second, each over a connection that waits for none; one that finds no such
    connection is left out."""
    free: list[Client] = []
    await open_all([Client(crowd, request, lambda me, _: free.append(me)) for request in requests])

    async def keep_asking() -> None:
        started_s, sent = crowd.loop.time(), 0
        while not crowd.is_over:
            due = int((crowd.loop.time() - started_s) * crowd.plan.per_second)
            while sent < due:
                sent += 1
                if free:
                    free.pop().ask()
            await asyncio.sleep(0.005)

    crowd.run(keep_asking())


async def read_as_readers_do(crowd: Crowd) -> None:
    """A household: a page now over a connection of its own, now over one that was kept, at a steady
    pace, whether the page before came or not."""
    plan = crowd.plan
    pages = []
    for reader, body in zip(plan.readers, plan.bodies, strict=True):
        feed = get(f"/articles?article_num={plan.article_num}", reader)
        report = post("/behaviors", body, f"X-Reader: {reader}")
        pages += [get("/channels"), feed, get("/articles/1"), feed, report]
    kept: list[Client] = []

    async def visit(page: bytes, *, keeps: bool) -> None:
        client = kept.pop() if keeps and kept else Client(crowd, lambda: page)
        over = asyncio.Event()
        client.requests, client.then = (lambda: page), (lambda _client, _wait_s: over.set())
        client.reopen = over.set  # type: ignore[method-assign]
        if client.wire is None:
            await client.open()
        else:
            client.ask()
        # The client is not to lose patience in a time that was stolen from the gateway.
        while not over.is_set() and client.waited_s() < PATIENCE_S:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PATIENCE_S / 10)
        if client in crowd.waiting:
            client.give_up()
        elif keeps and client.wire is not None:
            kept.append(client)
            return
        if client.wire is not None:
            client.wire.abort()

    async def keep_visiting() -> None:
        for turn in count():
            if crowd.is_over:
                return
            page = pages[turn % len(pages)]
            crowd.run(visit(page, keeps=turn % 2 == 1))
            await asyncio.sleep(1 / plan.per_second)

    crowd.run(keep_visiting())


async def start(crowd: Crowd) -> None:
    """Everything that the plan says; returns once all connections are made, or refused."""
    plan = crowd.plan
    feed = f"/articles?article_num={plan.article_num}"
    stalled = post("/behaviors", "{", length=100_000)
    never_read = get("/articles?article_num=100") * 30
    numbers = count()

    def ask_for_feed(reader: str) -> Callable[[], bytes]:
        return lambda: get(feed, reader)

    def order_one(reader: str) -> Callable[[], bytes]:
        return lambda: order(reader)

    def order(reader: str) -> bytes:
        body = f'{{"lines":[{{"product_id":{plan.product_id},"quantity":1}}]}}'
        key = f"Idempotency-Key: {next(numbers)}-{reader}"
        return post("/orders", body, key, f"X-Reader: {reader}")

    taking_turns = [plan.readers[n % len(plan.readers)] for n in range(plan.number)]
    match plan.kind:
        case "a crowd":
            await ask_without_end(crowd, [ask_for_feed(reader) for reader in taking_turns])
        case "dripping heads":
            await be_rude(crowd, DrippingHead, get("/channels")[:-2])
        case "stalled bodies":
            await be_rude(crowd, StalledBody, stalled)
        case "never reading":
            await be_rude(crowd, NeverReading, never_read)
        case "idle":
            await be_rude(crowd, Idle, get("/channels"))
        case "newcomers":
            await ask_at_a_rate(crowd, [lambda: get(feed)] * plan.number)
        case "buyers":
            await ask_without_end(crowd, [order_one(reader) for reader in taking_turns])
        case "a household":
            await read_as_readers_do(crowd)
        case other:
            raise ValueError(other)


async def main(plan: Plan) -> Seen:
    """Until stdin ends. A request that is still unanswered then, and is late, counts."""
    crowd = Crowd(plan)
    crowd.run(crowd.watch_the_clock())
    await start(crowd)
    print("started", flush=True)
    await crowd.loop.run_in_executor(None, sys.stdin.read)
    return crowd.close()


class Running:
    """A process of clients."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def stop(self) -> Seen:
        """What they have seen."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        answer = self.process.stdout.read()
        self.process.wait(60)
        return msgspec.json.decode(answer, type=Seen)


@contextmanager
def running(plan: Plan) -> Iterator[Running]:
    """Clients that have made their connections."""
    command = [sys.executable, "-m", "tests.faults.gateway_clients"]
    process = spawn(
        [*command, msgspec.json.encode(plan).decode()],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


if __name__ == "__main__":
    result = asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
    print(msgspec.json.encode(result).decode(), flush=True)
