"""gunicorn's threaded worker, with a bound on what any client may take of it.

One thread owns the connections: it takes them in, reads requests until they are whole, writes what
clients are slow to read, and closes what takes too long; the others only ever work on whole
requests. A request that would wait too long for a thread is told so at once. Of gunicorn's worker
the life of the process is used, and its parser; as it comes, it reads and writes in its threads,
so that sixteen sleeping clients shut the door. Rejected: gevent, which would make every library in
the process a guest of its event loop.

    options = {"worker_class": BoundedWorker}  # for gunicorn, as in gateway/serving/server.py
"""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from gunicorn.workers.gthread import ThreadWorker

from gateway.serving.answering import Answer, Answering
from gateway.serving.connection import (
    ANSWER_S,
    FIRST_BYTE_S,
    KEEPALIVE_S,
    LEAVE_S,
    MOST_LEFT_BYTES,
    UNREAD_S,
    Connection,
    State,
)
from gateway.serving.connections import Connections, count_dropped
from gateway.serving.refusals import Arrival, may_go_on, refuse
from gateway.serving.work_queue import WorkQueue
from tidings.http.errors import (
    BodyTooLargeError,
    HeadTooLargeError,
    OverloadedError,
    RequestTooSlowError,
    TargetTooLongError,
    TooManyConnectionsError,
)
from tidings.http.limits import address_network
from tidings.http.proxies import Proxies
from tidings.process.logs import SeldomLog

RECEIVED_BYTES = 64 * 1024
ACCEPTED_AT_ONCE = 128
# Waiting may take half of a request's time; the work needs the rest.
WAITING_SHARE = 0.5
# The first request of a connection stands in one line of its address, and one that follows within
# this time in another: a client that asks without end holds up those that only came.
AGAIN_S, AGAIN = 5.0, " again"
LATE = "no thread was free in time"
TICK_S = 0.5
STOP_LINGER_S = 2.0
# PERF: Python's own 5 ms would be the least wait of the thread that owns the connections, each time
# it has waited for the system.
SWITCH_INTERVAL_S = 0.001
_NO_FILES = (errno.EMFILE, errno.ENFILE)

log = structlog.get_logger(__name__)
_seldom = SeldomLog(log)


class BoundedWorker(ThreadWorker):  # type: ignore[misc] # gunicorn carries no annotations
    """Relies on names inside gunicorn (seen with 27.0); the tests drive what is built on them.

    Attributes:
        number: its name in metrics; no other living worker has it.
    """

    number = 0
    alive: bool
    wsgi: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        settings = self.app.settings
        self._budget_s: float = settings.gateway.deadline_ms / 1000
        self._max_body_bytes: int = settings.gateway.max_body_bytes
        self._most_of_address: int = settings.gateway.connections_per_address
        self._proxies = Proxies(settings.gateway.trusted_proxies)
        self._looked_s = self._readable_s = self._ticked_s = time.monotonic()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._connections = Connections(self.poller)
        self._answering = Answering(self.cfg, self.wsgi, self._proxies)

    def get_thread_pool(self) -> WorkQueue[Connection]:
        """The threads that work; made after the fork."""
        self._work = WorkQueue(self.cfg.threads, self._work_on)
        return self._work

    # The life of the process

    def run(self) -> None:
        """Serve until told to stop, and a little longer for what is at work."""
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn()
        self.set_accept_enabled(False)
        self._answering.ends = True
        now_s = time.monotonic()
        # A client that was told of keep-alive may be sending its next request already.
        self._connections.hurry(now_s + STOP_LINGER_S)
        while self._connections.count and time.monotonic() < now_s + self.cfg.graceful_timeout:
            self._turn()
        self.tpool.shutdown(wait=False)
        for listener in self.sockets:
            listener.close()

    def _turn(self) -> None:
        self.notify()
        asked_s = time.monotonic()
        # What is ready at once may have been so since the last look; what is waited for is new.
        events, self._readable_s = self.poller.select(0), self._looked_s
        if not events:
            events, self._readable_s = self.poller.select(TICK_S), time.monotonic()
        self._looked_s = time.monotonic()
        for key, _ in events:
            key.data(key.fileobj)
        for conn in self._work.take_late(self._looked_s):
            self._guarded(self._shed_late, conn)
        if self._looked_s > self._ticked_s + TICK_S:
            self._ticked_s = self._looked_s
            # What came while this process stood still may not be among the events yet, and its
            # client was not late.
            self._tick(asked_s)

    def _tick(self, now_s: float) -> None:
        """Give up what had taken too long by then."""
        if self.alive:
            self.set_accept_enabled(True)
        for conn in self._connections.overdue(now_s):
            self._guarded(self._give_up, conn)

    def _give_up(self, conn: Connection) -> None:
        match conn.state:
            case State.READING:
                part = "body" if conn.framing.body_from else "headers"
                count_dropped(f"slow_{part}")
                self._refuse(conn, RequestTooSlowError(f"the {part} did not come in time"))
            case State.WRITING:
                self._connections.close(conn, why="unread")
            case _:
                self._connections.close(conn)

    # Connections come and go

    def accept(self, listener: Any) -> None:
        """Take in all that wait, so that none of them waits where it cannot be seen."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, client = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as ex:
                _seldom.warning("connections_refused", reason=str(ex))
                if ex.errno not in _NO_FILES or not self._connections.make_room():
                    # Until the next tick: a listener with clients in it would wake the selector.
                    self.set_accept_enabled(False)
                    return
                continue
            self._take_in(Connection(sock, client, listener.getsockname(), self._max_body_bytes))

    def _take_in(self, conn: Connection) -> None:
        has_room = not self._connections.are_full or self._connections.make_room()
        held = self._connections.of_address(conn.network)
        is_one_too_many = 0 < self._most_of_address <= held and not self._proxies.believes(
            conn.address
        )
        self._connections.add(conn)
        conn.since_s = conn.began_s = self._readable_s
        conn.listener = partial(self._on_event, conn)
        if not has_room:
            count_dropped("no_room")
            self._refuse(conn, OverloadedError("all connections are in use"))
        elif is_one_too_many:
            count_dropped("address")
            self._refuse(conn, TooManyConnectionsError(f"at most {held} are taken"))
        else:
            self._connections.stand(conn, State.IDLE, self._looked_s + FIRST_BYTE_S)

    def _leave(self, conn: Connection) -> None:
        """Say that no more comes, and wait for the client to close: closing at once would make the
        system take back the answer, if the client is still sending."""
        conn.inbox.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._connections.close(conn)
            return
        self._connections.stand(conn, State.LEAVING, self._looked_s + LEAVE_S)

    # Requests come in

    def _on_event(self, conn: Connection, _sock: socket.socket) -> None:
        if not conn.events:
            return  # closed to make room, since the selector looked
        self._guarded(self._serve, conn)

    def _guarded(self, step: Callable[[Connection], None], conn: Connection) -> None:
        """A defect that one connection shows ends that one, and not the worker with all others."""
        try:
            step(conn)
        except Exception:
            log.exception("connection_lost")
            self._connections.close(conn, why="defect")

    def _serve(self, conn: Connection) -> None:
        if conn.state is State.WRITING:
            self._send(conn, conn.outbox)
            return
        try:
            data = conn.sock.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._connections.close(conn)
        elif conn.state is State.LEAVING:
            conn.left_bytes += len(data)
            if conn.left_bytes > MOST_LEFT_BYTES:
                self._connections.close(conn)
        else:
            if conn.state is State.IDLE:
                conn.began_s = self._looked_s
            conn.inbox += data
            self._read_on(conn, max(self._readable_s, conn.since_s))

    def _read_on(self, conn: Connection, readable_s: float) -> None:
        """Look whether the request is whole; then it goes to a thread."""
        in_head = not conn.framing.body_from
        try:
            end = conn.framing.find_end(conn.inbox)
        except (BodyTooLargeError, HeadTooLargeError, TargetTooLongError) as ex:
            self._refuse(conn, ex)
            return
        if end is not None:
            conn.request, conn.readable_s = bytes(conn.inbox[:end]), readable_s
            del conn.inbox[:end]
            self._put_to_work(conn)
            return
        if self._connections.hold_too_much:
            count_dropped("memory")
            self._refuse(conn, OverloadedError("too many bodies are coming in"))
            return
        if conn.framing.body_from:
            if in_head:
                conn.began_s = self._looked_s
            if conn.framing.wants_word:
                conn.framing.wants_word = False
                with suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._connections.stand(conn, State.READING, conn.reading_until_s())

    def _put_to_work(self, conn: Connection) -> None:
        line = address_network(self._proxies.find_client(conn.address, conn.request))
        if conn.asked_s > self._looked_s - AGAIN_S:
            line += AGAIN
        conn.asked_s = self._looked_s
        conn.may_go_on = conn.framing.is_plain and not conn.inbox and may_go_on(conn.request)
        conn.framing.begin()
        if self._work.expected_wait_s(line) > self._budget_s * WAITING_SHARE:
            self._answer(conn, self._shed(conn, "no thread will be free in time"))
        else:
            self._connections.stand(conn, State.AT_WORK, 0.0)
            self._work.put(line, conn, self._waits_until_s(conn))

    def _waits_until_s(self, conn: Connection) -> float:
        return conn.readable_s + self._budget_s * WAITING_SHARE

    def _work_on(self, conn: Connection) -> None:
        """Runs in a thread, to which the connection belongs meanwhile. It is given back whatever
        comes of it, and ends there unless it was answered."""
        conn.keeps = False
        try:
            answer = self._work_out(conn)
            is_there = conn.send(answer.data)
            conn.keeps = answer.keeps and is_there
        finally:
            conn.since_s = time.monotonic()
            conn.request = b""
            self.method_queue.defer(self._after_work, conn)

    def _work_out(self, conn: Connection) -> Answer:
        began_s = time.monotonic()
        if began_s > self._waits_until_s(conn):
            return self._shed(conn, LATE)
        busy_from_s = time.thread_time()
        arrival = _arrival(conn, conn.request, conn.readable_s, began_s=began_s)
        answer = self._answering.answer(arrival, conn)
        self._work.learn(time.monotonic() - began_s, time.thread_time() - busy_from_s)
        return answer

    def _shed_late(self, conn: Connection) -> None:
        self._answer(conn, self._shed(conn, LATE))

    def _shed(self, conn: Connection, reason: str) -> Answer:
        arrival = _arrival(conn, conn.request, conn.readable_s, began_s=time.monotonic())
        ex = OverloadedError(reason)
        return Answer(refuse(ex, arrival, keeps=conn.may_go_on), conn.may_go_on)

    # Answers go out

    def _after_work(self, conn: Connection) -> None:
        conn.began_s = self._looked_s
        self._guarded(self._go_on, conn)

    def _answer(self, conn: Connection, answer: Answer) -> None:
        conn.keeps, conn.request = answer.keeps, b""
        conn.since_s = conn.began_s = self._looked_s
        self._send(conn, answer.data)

    def _refuse(self, conn: Connection, ex: Exception) -> None:
        arrival = _arrival(conn, bytes(conn.inbox), conn.began_s, began_s=time.monotonic())
        self._answer(conn, Answer(refuse(ex, arrival), keeps=False))

    def _send(self, conn: Connection, data: bytes | memoryview) -> None:
        if conn.send(data):
            self._go_on(conn)
        else:
            self._connections.close(conn)

    def _go_on(self, conn: Connection) -> None:
        """After an answer, or a part of it."""
        if conn.outbox:
            if self._connections.hold_too_much:
                self._connections.close(conn, why="memory")
                return
            give_up_s = min(conn.began_s + ANSWER_S, self._looked_s + UNREAD_S)
            self._connections.stand(conn, State.WRITING, give_up_s)
        elif not conn.keeps:
            self._leave(conn)
        elif conn.inbox:
            conn.began_s = conn.since_s
            self._read_on(conn, conn.since_s)
        else:
            linger_s = KEEPALIVE_S if self.alive else STOP_LINGER_S
            self._connections.stand(conn, State.IDLE, self._looked_s + linger_s)


def _arrival(conn: Connection, data: bytes, readable_s: float, *, began_s: float) -> Arrival:
    return Arrival(data, readable_s, began_s=began_s, address=conn.address)
