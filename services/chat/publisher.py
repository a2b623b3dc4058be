"""Puts onto the bus what was stored: at once what this node stored, and soon what others left.

What a node committed goes from memory to Redis in a millisecond; its rows in the outbox are deleted
afterwards. While Redis is away, memory keeps what it can in order, and the rows keep all of it. The
rows of programs without a Redis, and of a node that died, are looked for five times a second.
Telling twice is harmless. Rejected: to read everything from the table; each message would cost two
more transactions, and their time.

    publisher = Publisher(engine, bus)
    engine = telling(engine, publisher.tell)
    publisher.publish()  # again and again, in one coroutine
    publisher.gather()  # and this in another
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError
from sqlalchemy import Engine

from services.chat.bus import Bus
from tidings.store.engine import transaction
from tidings.talk.events import Entry
from tidings.talk.outbox import Posted, claim, forget

# The longest that a reader waits for what the gateway or a job stored, besides the way itself.
LOOK_EVERY_S = 0.2
# Of one pipeline, and of one look: a row has up to a hundred entries.
ROWS_AT_ONCE = 50
# While Redis is away: half a minute of 1,000 messages a second. The rest waits in the table alone.
MOST_WAITING_BYTES = 16 * 1024 * 1024
MOST_LIVE = 1000
_IDLE_S = 1.0

log = structlog.get_logger(__name__)
_PUBLISHED = Counter("tidings_chat_published", "Rows of the outbox put onto the bus", ["found"])
_UNTOLD = Counter("tidings_chat_live_dropped", "Live entries that Redis could not be given")
_WAITING = Gauge("tidings_chat_waiting_for_bus", "Rows of this node that wait for the bus")


class Publisher:
    """One for a node. `tell` and `say` may be called from any coroutine."""

    def __init__(self, engine: Engine, bus: Bus) -> None:
        self._engine = engine
        self._bus = bus
        self._news = threading.Event()
        self._waiting: deque[Posted] = deque()
        self._waiting_bytes = 0
        self._live: deque[Entry] = deque(maxlen=MOST_LIVE)
        self._told: list[int] = []
        _WAITING.set_function(lambda: len(self._waiting))

    def tell(self, posted: Posted) -> None:
        """Have a row of the outbox told, which this node has just committed. Waits for nothing."""
        self._waiting.append(posted)
        self._waiting_bytes += _size(posted)
        while self._waiting_bytes > MOST_WAITING_BYTES and len(self._waiting) > 1:
            self._waiting_bytes -= _size(self._waiting.popleft())
        self._news.set()

    def say(self, entry: Entry) -> None:
        """Have a live entry told, which is stored nowhere. Waits for nothing."""
        self._live.append(entry)
        self._news.set()

    def publish(self) -> None:
        """Put onto the bus what waits in memory, after waiting for some.

        Raises:
            RedisError: what is stored still waits; what is live is gone.
        """
        self._news.wait(_IDLE_S)
        self._news.clear()
        self._publish_live()
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), ROWS_AT_ONCE))]
            try:
                self._bus.append([pair for posted in taken for pair in _stamped(posted)])
            except RedisError:
                self._waiting.extendleft(reversed(taken))
                raise
            self._waiting_bytes -= sum(map(_size, taken))
            self._note_told(taken, "own")

    def gather(self) -> None:
        """Forget the rows that the bus has, and tell those that others left, after a pause.

        Raises:
            RedisError: what was left stays in the table.
            SQLAlchemyError: the database is away.
        """
        time.sleep(LOOK_EVERY_S)
        if self._told:
            told = self._told[:]
            with transaction(self._engine) as conn:
                forget(conn, told)
            del self._told[: len(told)]
        if self._waiting:
            return  # Redis is away; what it gets first when it is back are the rows in memory
        found = claim(self._engine, limit=ROWS_AT_ONCE)
        if found:
            self._bus.append([pair for posted in found for pair in _stamped(posted)])
            self._note_told(found, "left")

    def _publish_live(self) -> None:
        live = [("", self._live.popleft()) for _ in range(len(self._live))]
        try:
            if live:
                self._bus.append(live)
        except RedisError:
            _UNTOLD.inc(len(live))
            if not self._waiting:
                raise

    def _note_told(self, rows: Sequence[Posted], found: str) -> None:
        _PUBLISHED.labels(found).inc(len(rows))
        self._told += [posted.id for posted in rows]


def _stamped(posted: Posted) -> list[tuple[str, Entry]]:
    return [(f"{posted.id}.{place}", entry) for place, entry in enumerate(posted.entries)]


def _size(posted: Posted) -> int:
    return sum(len(entry.frame) for entry in posted.entries)
