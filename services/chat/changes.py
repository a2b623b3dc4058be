"""Work of sockets that waits for the database: it is done beside them, by a few coroutines.

A coroutine that reads a socket must not wait for SQL: it would not hear its client meanwhile. So
what a frame asks for becomes a piece of work in a bounded line; a full one is told to the client,
which asks again. Messages have a line of their own, the writer's, where many are stored together.
Rejected: a coroutine for each piece; ten thousand of them would wait for eight connections.

    changes.add(partial(mark_read_for, session, frame))
    changes.work()  # again and again, in each of a few coroutines
"""

from __future__ import annotations

import queue
from collections.abc import Callable

from prometheus_client import Gauge

from services.chat.hosting import RefusedError
from tidings.process.deadline import Deadline, deadline_scope

# As many as may use the database at once beside the writer, with connections left for REST.
WORKERS = 3
# Ten seconds of work that takes ten milliseconds.
MOST_WAITING = 2000
DONE_WITHIN_MS = 2000
RETRY_AFTER_MS = 1000
_IDLE_S = 1.0

_WAITING = Gauge("tidings_chat_changes_waiting", "Pieces of work of sockets that wait")


class Changes:
    """One line for a node."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], object]] = queue.Queue(MOST_WAITING)
        _WAITING.set_function(self._waiting.qsize)

    def add(self, work: Callable[[], object]) -> None:
        """Have this done soon. Waits for nothing.

        Raises:
            RefusedError: too much waits.
        """
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            raise RefusedError("unavailable", "too much waits to be done", RETRY_AFTER_MS) from None

    def work(self) -> None:
        """Do a piece, after waiting for one."""
        try:
            work = self._waiting.get(timeout=_IDLE_S)
        except queue.Empty:
            return
        with deadline_scope(Deadline.after_ms(DONE_WITHIN_MS)):
            work()
