"""The bus between the nodes of the chat: one capped stream in Redis, all of it read by each node.

A node reads from its own last place, so Redis being away for seconds loses nothing that is still in
the stream, and order is the stream's. Whether something was lost is looked at and never assumed:
the place that was read last must still be there, the epoch must be the same, and so must the run of
the Redis server, since one that starts again may have kept an older stream. Otherwise the node goes
on from a place of its own making, and all who are connected load anew. Rejected: PUBLISH, which
tells a node that was away a moment nothing; and a stream for each reader, which a node would have
to read ten thousand of.

    bus = Bus(redis, hub, most_kept=20_000, most_kept_bytes=32 << 20)
    bus.append([("7.0", entry)])
    while True:
        bus.read()
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Gauge
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from services.chat.hub import BusEntry
from services.chat.positions import NOWHERE, EntryId, Position, read_id
from tidings.store.keys import BUS, BUS_EPOCH
from tidings.talk.events import Entry

# An answer of 500 entries of 400 bytes is read in a few milliseconds.
MOST_AT_ONCE = 500
# A node behind its beginning reads so many at once that it looks whether something was cut off.
LEFT_WHEN_FULL = MOST_AT_ONCE + 100
# Of the time that Redis may take to answer: a wait for news must end before it does.
BLOCK_SHARE = 0.5
# And no longer, however patient a node is with Redis: one that hears nothing for five seconds is
# not ready, and that nothing was said must not be taken for that.
LONGEST_BLOCK_S = 0.5
# Eight megabytes at most, of messages as long as they may be.
KEPT_AT_ONCE = 500
_RUN_ID = re.compile(rb"run_id:(\w+)")

log = structlog.get_logger(__name__)
_BREAKS = Counter("tidings_chat_bus_breaks", "Times the bus did not go on where it was", ["reason"])
_AGE = Gauge("tidings_chat_bus_age_seconds", "How long ago the bus was heard of last")


class Follower(Protocol):
    """Who is given what the bus carries."""

    def restart(self, position: Position, kept: Sequence[BusEntry], reason: str) -> None:
        """It goes on from here, with a gap before."""

    def deliver(self, entries: Sequence[BusEntry]) -> None:
        """It carried these."""

    def capacity(self) -> int:
        """How many entries are worth keeping."""


class Bus:
    """Appends for all, and reads for one follower. `read` belongs to one coroutine.

    Args:
        most_kept: how many entries are read again when a node starts.
        most_kept_bytes: how much of them.
    """

    def __init__(
        self, redis: Redis, follower: Follower, *, most_kept: int, most_kept_bytes: int
    ) -> None:
        self._redis = redis
        self._follower = follower
        self._most_kept = most_kept
        self._most_kept_bytes = most_kept_bytes
        self._timeout_s = redis.connection_pool.connection_kwargs["socket_timeout"]
        self._connection: Any = None
        self._run_id = b""
        self._kept_epoch = b""
        self._last: EntryId = NOWHERE
        self._heard_s = -math.inf
        _AGE.set_function(lambda: self.age_s)

    @property
    def age_s(self) -> float:
        """Since Redis last said what the bus carries, or that it carries nothing."""
        return time.monotonic() - self._heard_s

    def append(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Put entries onto the bus in this order, each with the stamp of its row or "".

        Raises:
            RedisError: some of them, or none, are there; to append them again is harmless.
        """
        most = min(self._follower.capacity(), BUS.most)
        # As one transaction, so that who waits by XREAD is woken once, and not for the first alone.
        with self._redis.pipeline() as pipeline:
            for stamp, entry in entries:
                fields: dict[Any, Any] = {**entry.fields(), "n": stamp}
                pipeline.xadd(BUS.of(), fields, maxlen=most, approximate=True)
            try:
                pipeline.execute()
            except OutOfMemoryError:
                self._make_room()
                raise

    def _make_room(self) -> None:
        """Shorten the bus in a Redis that is full: XADD, which does it otherwise, is refused."""
        length = int(self._redis.xlen(BUS.of()))
        left = max(length // 2, LEFT_WHEN_FULL)
        if left < length:
            self._redis.xtrim(BUS.of(), maxlen=left, approximate=False)
            log.warning("bus_shortened", reason="redis is full", before=length, after=left)

    def read(self) -> None:
        """Hand over what has come, after waiting for it a moment.

        Raises:
            RedisError: Redis is away. The next call goes on where this one was.
        """
        try:
            if self._connection is None:
                self._connect()
            self._read()
        except (RedisError, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back. The next `read` takes a new one."""
        if self._connection is not None:
            self._connection.disconnect()
            self._redis.connection_pool.release(self._connection)
            self._connection = None

    def _read(self) -> None:
        """What came, and the epoch that it came in, by one round trip."""
        block_ms = int(min(self._timeout_s * BLOCK_SHARE, LONGEST_BLOCK_S) * 1000)
        after = _text(self._last)
        found, epoch = self._ask(
            ("XREAD", "COUNT", MOST_AT_ONCE, "BLOCK", block_ms, "STREAMS", BUS.of(), after),
            ("GET", BUS_EPOCH.of()),
        )
        if epoch != self._kept_epoch:
            return self._begin_anew("flushed", self._run_id)
        rows = _rows(found)
        # So many at once are a backlog, and its beginning may have been cut off.
        if len(rows) == MOST_AT_ONCE and not self._ask(("XRANGE", BUS.of(), after, after))[0]:
            return self._begin_anew("behind", self._run_id)
        self._heard_s = time.monotonic()
        if rows:
            self._last = read_id(rows[-1][0])
            self._follower.deliver(list(_read_entries(rows)))
        return None

    def _connect(self) -> None:
        self._connection = self._redis.connection_pool.get_connection()
        after = _text(self._last)
        run, epoch, kept = self._ask(
            ("INFO", "server"), ("GET", BUS_EPOCH.of()), ("XRANGE", BUS.of(), after, after)
        )
        found = _RUN_ID.search(run)
        run_id = found[1] if found else b""
        if self._last == NOWHERE:
            self._begin_anew("start", run_id)
        elif run_id != self._run_id:
            self._begin_anew("restarted", run_id)
        elif epoch != self._kept_epoch:
            self._begin_anew("flushed", run_id)
        elif not kept:
            self._begin_anew("behind", run_id)

    def _begin_anew(self, reason: str, run_id: bytes) -> None:
        """Take a place at the end, by an entry of its own: so it is one that exists, in a stream
        that was empty too. If it fails, it is begun again for the same reason."""
        _, epoch, place = self._ask(
            ("SET", BUS_EPOCH.of(), secrets.token_hex(8), "NX"),
            ("GET", BUS_EPOCH.of()),
            ("XADD", BUS.of(), "*", "begins", secrets.token_hex(4)),
        )
        rows = self._read_back(place.decode())
        self._run_id = run_id
        self._kept_epoch = epoch
        self._last = read_id(place)
        self._heard_s = time.monotonic()
        _BREAKS.labels(reason).inc()
        name = _name_epoch(epoch, self._run_id)
        log.info("bus_begins", reason=reason, epoch=name, kept=len(rows))
        kept = list(_read_entries(reversed(rows)))
        self._follower.restart(Position(name, self._last), kept, reason)

    def _read_back(self, before: str) -> list[Any]:
        """What the bus carried before a place, the newest first, as much as a window holds."""
        rows: list[Any] = []
        size = 0
        while len(rows) < self._most_kept and size < self._most_kept_bytes:
            command = ("XREVRANGE", BUS.of(), f"({before}", "-", "COUNT", KEPT_AT_ONCE)
            older = self._ask(command)[0]
            if not older:
                break
            rows += older
            size += sum(len(part) for _, parts in older for part in parts)
            before = older[-1][0].decode()
        return rows

    def _ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        # By the connection itself: a pool would quietly open another one to a Redis that has been
        # started again, and a pipeline of redis-py takes three times the time.
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [self._connection.read_response() for _ in commands]


def _rows(found: Any) -> list[Any]:
    """Those of the one stream, as either version of Redis's protocol gives them."""
    if not found:
        return []
    rows: list[Any] = next(iter(found.values())) if isinstance(found, dict) else found[0][1]
    return rows


def _read_entries(rows: Iterable[Any]) -> Iterator[BusEntry]:
    for id_, parts in rows:
        fields = dict(zip(parts[::2], parts[1::2], strict=True))
        try:
            yield BusEntry(read_id(id_), fields.get(b"n", b""), Entry.read(fields))
        except (KeyError, ValueError) as ex:
            if b"begins" not in fields:
                log.warning("bus_entry_unreadable", entry_id=id_, error=repr(ex))


def _name_epoch(kept: bytes, run_id: bytes) -> str:
    """The life of the bus: of the text in Redis and of this run of the server."""
    return hashlib.sha256(kept + run_id).hexdigest()[:8]


def _text(place: EntryId) -> str:
    return f"{place[0]}-{place[1]}"
