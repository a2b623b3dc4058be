"""Stores messages: all that wait in one transaction, one transaction at a time.

The disk syncs once for as many messages as came meanwhile, so the busier a node, the more it stores
with each. A sender is answered after the commit, and each as it deserves: a message that is refused
harms no other, and where a whole transaction fails for the sake of one, each is tried alone. While
the database is away, all that wait are told so at once; a client sends again with the same cid,
which stores it once. Rejected: a transaction for each message; a node would store a few hundred a
second, and hold as many connections.

    writer = Writer(engine)
    writer.send(Send(sender_id=7, cid="c1", conversation_id=3, body="Good morning"), on_done)
    writer.write()  # again and again, in one coroutine
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tidings.http.errors import OverloadedError
from tidings.process.deadline import (
    Deadline,
    DeadlineExceededError,
    current_deadline,
    deadline_scope,
)
from tidings.store.retry import is_passing
from tidings.store.transacting import transact
from tidings.talk.errors import InvalidError
from tidings.talk.sending import MOST_SENDS, Refused, Send, Sent, send_many

# Two seconds of a busy node; a message that waited longer would be answered after its sender had
# given it up.
MOST_WAITING = 2000
# Stored within a few milliseconds, or the database is away.
STORED_WITHIN_MS = 2000
# A transaction costs this process three milliseconds, and each further message a fifth of one: a
# busy node lets a few come together, and has the time for its sockets.
GATHERED_S = 0.005
_IDLE_S = 1.0

log = structlog.get_logger(__name__)
_SENDS = Counter("tidings_chat_sends", "Messages that were to be stored", ["outcome"])
_TOOK = Histogram(
    "tidings_chat_send_seconds",
    "From taking a message until it is committed",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
_BATCH = Histogram(
    "tidings_chat_send_batch", "Messages in one transaction", buckets=(1, 2, 5, 10, 20, 50, 100)
)


class Unsent(msgspec.Struct, frozen=True):
    """A message that is not known to be stored: the database is away, or too many wait. It may be
    sent again with the same cid."""


Outcome = Sent | Refused | Unsent


@dataclass(frozen=True, slots=True)
class _Waiting:
    send: Send
    on_done: Callable[[Outcome], object]
    since_s: float


class Writer:
    """One for a node. `send` may be called from any coroutine, `write` belongs to one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._news = threading.Event()
        self._waiting: deque[_Waiting] = deque()

    def send(self, send: Send, on_done: Callable[[Outcome], object]) -> None:
        """Have a message stored. Waits for nothing.

        Args:
            on_done: is told once what became of it, soon or at once; must not wait.
        """
        if len(self._waiting) >= MOST_WAITING:
            _SENDS.labels("full").inc()
            on_done(Unsent())
            return
        self._waiting.append(_Waiting(send, on_done, time.monotonic()))
        self._news.set()

    def send_and_wait(self, send: Send) -> Sent | Refused:
        """Have a message stored, and wait for it.

        Raises:
            OverloadedError: it is not known to be stored.
        """
        outcomes: list[Outcome] = []
        is_done = threading.Event()

        def note(outcome: Outcome) -> None:
            outcomes.append(outcome)
            is_done.set()

        self.send(send, note)
        # One transaction may be under way, and this one's own follows it.
        wait_ms: float = 2 * STORED_WITHIN_MS
        deadline = current_deadline()
        if deadline is not None:
            wait_ms = min(wait_ms, deadline.remaining_ms())
        is_done.wait(wait_ms / 1000)
        if not outcomes or isinstance(outcomes[0], Unsent):
            raise OverloadedError("the message cannot be stored at the moment")
        return outcomes[0]

    def write(self) -> None:
        """Store what waits, after waiting for some."""
        self._news.wait(_IDLE_S)
        self._news.clear()
        while self._waiting:
            count = min(len(self._waiting), MOST_SENDS)
            batch = [self._waiting.popleft() for _ in range(count)]
            _BATCH.observe(count)
            outcomes = self._store_together(batch)
            # What puts them onto the bus was woken by the commit, and goes first.
            time.sleep(0)
            _answer(batch, outcomes)
            if 0 < len(self._waiting) < MOST_SENDS:
                time.sleep(GATHERED_S)

    def _store_together(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        try:
            return self._store([waiting.send for waiting in batch])
        except Exception as ex:  # noqa: BLE001 - logged; each message is answered
            if _is_away(ex):
                log.warning("sends_not_stored", count=len(batch), error=repr(ex))
                # The rest would wait as long, one transaction after the other.
                waiting = list(self._waiting)
                self._waiting.clear()
                _answer(waiting, [Unsent()] * len(waiting))
                return [Unsent()] * len(batch)
            return [self._store_alone(waiting.send) for waiting in batch]

    def _store_alone(self, send: Send) -> Outcome:
        try:
            return self._store([send])[0]
        except Exception as ex:
            if _is_away(ex):
                return Unsent()
            log.exception("send_set_aside", sender_id=send.sender_id, cid=send.cid)
            return Refused(send.cid, InvalidError("this message cannot be stored"))

    def _store(self, sends: Sequence[Send]) -> Sequence[Sent | Refused]:
        with deadline_scope(Deadline.after_ms(STORED_WITHIN_MS)):
            return transact(self._engine, lambda conn: send_many(conn, sends))


def _is_away(ex: Exception) -> bool:
    """Whether the database cannot do it now, whatever is sent."""
    if isinstance(ex, SQLAlchemyError):
        return is_passing(ex) is not None
    return isinstance(ex, DeadlineExceededError)


def _answer(batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    now_s = time.monotonic()
    for waiting, outcome in zip(batch, outcomes, strict=True):
        _SENDS.labels(_name(outcome)).inc()
        _TOOK.observe(now_s - waiting.since_s)
        try:
            waiting.on_done(outcome)
        except Exception:
            # What one sender does with its answer keeps none from those behind it.
            log.exception("sender_not_answered", cid=waiting.send.cid)


def _name(outcome: Outcome) -> str:
    match outcome:
        case Sent():
            return "stored"
        case Refused(error=error):
            return error.code
        case Unsent():
            return "unavailable"
