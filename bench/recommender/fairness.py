"""What one reader can take from the others, and what a reader costs in Redis.

Beside sixteen connections of many readers, which ask as fast as they are answered, another program
opens 200 connections for a single reader and does the same. Rounds with and without it take turns,
since the machine has other things to do as well. The callers are programs of their own, which send
bytes made before: what is measured is the service.

    python -m bench.recommender fairness
    python -m bench.recommender.fairness ADDRESS CONNECTIONS READERS SECONDS    one such caller
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from itertools import count
from pathlib import Path
from typing import Any

from redis import Redis

from tests.lab.servers import start_redis
from tests.lab.sites import start_site
from tidings.process.clock import now_ms
from tidings.process.listening import split_bind
from tidings.process.settings.reading import ReadingSettings
from tidings.reading.acts import Action
from tidings.reading.history import History
from tidings.reading.noting import Hideable, ReaderNotes
from tidings.reading.reader_state import Acted, Batch
from tidings.rpc.wire.codec import encode_binary
from tidings_idl.recommend.ttypes import UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_args

ROUNDS, ROUND_S = 5, 4.0
OTHERS, OTHER_READERS = 16, 4096
FLOOD = 200
# A page is some kilobytes, a refusal some hundred bytes.
LEAST_PAGE_BYTES = 1000
ARTICLES = 1_000_000
USUAL_BATCHES, USUAL_CLICKS = 20, 30


def measure() -> dict[str, float]:
    """`one_reader_flood_ratio`, the median of the rounds, and the bytes a reader takes."""
    return {**measure_flood(), **measure_bytes()}


def measure_flood() -> dict[str, float]:
    """Others' answers a second beside a flood ÷ without."""
    ratios: list[float] = []
    flooded: list[float] = []
    with tempfile.TemporaryDirectory() as folder, start_site(Path(folder)) as site:
        site.wait_until_ready()
        bind = site.settings.recommender.bind
        ask_as_fast(bind, OTHERS, OTHER_READERS).wait_for()
        for _ in range(ROUNDS):
            alone = ask_as_fast(bind, OTHERS, OTHER_READERS).wait_for()
            flood = ask_as_fast(bind, FLOOD, 1)
            beside = ask_as_fast(bind, OTHERS, OTHER_READERS).wait_for()
            flooded.append(flood.wait_for() / ROUND_S)
            ratios.append(beside / alone)
    return {
        "one_reader_flood_ratio": statistics.median(ratios),
        "one_reader_flood_ratio_worst": min(ratios),
        "one_reader_flood_pages_per_s": statistics.median(flooded),
    }


class Asking:
    """A caller at work."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait_for(self) -> int:
        """How many pages it got."""
        said, _ = self._process.communicate(timeout=60)
        answered: int = json.loads(said)
        return answered


def ask_as_fast(bind: str, connections: int, readers: int) -> Asking:
    """Start a caller."""
    arguments = [bind, str(connections), str(readers), str(ROUND_S)]
    return Asking(
        subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments], stdout=subprocess.PIPE, shell=False
        )
    )


def ask(bind: str, connections: int, readers: int, seconds: float) -> int:
    """Ask for pages for so long, on so many connections, each again once it is answered; returns
    how many pages came."""
    first_reader = 1 if readers == 1 else random.randrange(10**6, 10**12)
    requests = [frame(first_reader + number) for number in range(readers)]
    turn, pages = count(), 0
    waiting = selectors.DefaultSelector()
    for _ in range(connections):
        opened = socket.create_connection(split_bind(bind))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(opened, selectors.EVENT_READ, bytearray())
        opened.sendall(requests[next(turn) % readers])
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for key, _ in waiting.select(0.1):
            connection, received = key.fileobj, key.data
            assert isinstance(connection, socket.socket)
            received += connection.recv(65_536)
            if len(received) < 4 or len(received) < 4 + struct.unpack_from("!i", received)[0]:
                continue
            pages += len(received) >= LEAST_PAGE_BYTES
            received.clear()
            connection.sendall(requests[next(turn) % readers])
    return pages


def frame(reader_id: int) -> bytes:
    """A framed call of `user_recommend`."""
    kind: Any = user_recommend_args  # generated classes carry no annotations
    arguments: bytes = encode_binary(kind(UserRequest(user_id=reader_id)), [kind, kind.thrift_spec])
    name = b"user_recommend"
    call = struct.pack(f"!Ii{len(name)}si", 0x80010001, len(name), name, 0)
    body = call + arguments
    return struct.pack("!i", len(body)) + body


def measure_bytes() -> dict[str, float]:
    """What a reader of a site with a million articles takes: one with twenty pages and thirty
    clicks, and one of whom all that is kept is full."""
    defaults = ReadingSettings()
    with start_redis() as server, Redis.from_url(server.url) as redis:
        usual = fill(redis, 7, batches=USUAL_BATCHES, acts=USUAL_CLICKS, hidden=0)
        worst = fill(redis, 8, batches=3 * defaults.history_batches, acts=500, hidden=500)
    return {"redis_bytes_usual": usual, "redis_bytes_per_reader": worst}


def fill(redis: Redis, reader_id: int, *, batches: int, acts: int, hidden: int) -> int:
    """Let a reader do so much; returns the bytes of all of their keys."""
    defaults, made_ms = ReadingSettings(), now_ms()
    history = History(
        redis,
        batches_kept=defaults.history_batches,
        seen_kept=defaults.seen_articles,
        ttl_s=1000,
        channels=lambda: [0, 1, 2],
    )
    notes, draw = ReaderNotes(1000), random.Random(reader_id)
    for number in range(batches):
        ids = array("q", draw.sample(range(1, ARTICLES), 10))
        batch = Batch(
            number % 3, made_ms + number * 60_000, ids, bytes(draw.choices(range(9), k=10))
        )
        history.record(reader_id, batch, history.read(reader_id))
    with redis.pipeline() as pipe:
        stamps = [made_ms + number * 60_000 for number in range(batches)]
        notes.note_exposures(pipe, reader_id, stamps)
        notes.note_acts(
            pipe,
            reader_id,
            [
                Acted(Action.CLICK, draw.randrange(1, ARTICLES), stamps[n % batches], made_ms + n)
                for n in range(acts)
            ],
        )
        for number in range(hidden):
            notes.hide(pipe, reader_id, Hideable(number % 3), draw.randrange(1, ARTICLES))
        pipe.execute()
    keys = redis.scan_iter(f"*{{{reader_id}}}*")
    return sum(redis.memory_usage(key, samples=0) or 0 for key in keys)


if __name__ == "__main__":
    address, connections_wanted, readers_wanted, asked_s = sys.argv[1:]
    print(ask(address, int(connections_wanted), int(readers_wanted), float(asked_s)))
