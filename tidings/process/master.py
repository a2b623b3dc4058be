"""Several processes behind one address, and the master that keeps them.

Python runs one thread at a time, so a machine's second core needs a second process. Each slot has a
socket of its own, between which the kernel spreads the clients (SO_REUSEPORT), and the master keeps
all of them: a client that connects while a slot has no worker waits in its queue for the next one.
Where that will take a while, at the first start or because workers keep dying, it does not listen
until one can answer, and a client that connects comes to another worker or is refused at once.
Workers are forked, so that a new one is soon there; nothing that connects may have been made
before.

SIGTERM drains all. SIGHUP replaces the workers one by one: the new one accepts from the same queue
before the old one stops, and takes over its connections. Rejected: one socket shared by all
workers; the first to wake gets nearly every client.

    master = Master(2, bind_for_each(2, "127.0.0.1:9090"), make_worker, stop_within_s=12)
    master.run()
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import structlog
from prometheus_client import Counter, Gauge

from tidings.process.backoff import failures_in_a_row, pause_s
from tidings.process.errors import CannotStartError
from tidings.process.handover import Handover
from tidings.process.logs import name_in_every_line
from tidings.process.shared_metrics import forget_worker
from tidings.process.worker import FAILED, READY, RETIRE, MakeWorker, die_with, pin, run_worker
from tidings.process.worker_numbers import free_number, take_number

# Without a word of progress: to read a million articles may take longer.
START_S = 60.0
DOUBTFUL_AFTER_S = 3.0
HUNG_AFTER_S = 30.0
_LOOK_EVERY_S = 1.0
_TOLD_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_DEATHS = Counter("tidings_rpc_worker_deaths", "Workers that ended without being told to")
_READY_WORKERS = Gauge(
    "tidings_rpc_workers_ready", "Workers that may be sent calls", multiprocess_mode="livesum"
)
_log = structlog.get_logger()


@dataclass(slots=True)
class _Worker:
    """A process. `number` is its name in logs and metrics; no other living worker has it."""

    pid: int
    number: int
    reports: int
    started_s: float
    heard_s: float
    ready: bool = False
    was_ready: bool = False
    reason: bytes = b""

    def hear(self, said: bytes) -> None:
        self.heard_s = time.monotonic()
        state, failed, reason = said.partition(FAILED)
        self.reason += failed and reason
        if state:
            self.ready = state.endswith(READY)
            self.was_ready = self.was_ready or self.ready

    def may_be_asked(self, now_s: float) -> bool:
        return self.ready and now_s - self.heard_s < DOUBTFUL_AFTER_S

    def hangs(self, now_s: float) -> bool:
        return now_s - self.heard_s > (HUNG_AFTER_S if self.was_ready else START_S)


@dataclass(slots=True)
class _Slot:
    """A socket and the processes that serve it: `current`, who will follow it, and who it
    followed."""

    place: int
    listener: socket.socket
    handover: Handover = field(default_factory=Handover)
    current: _Worker | None = None
    successor: _Worker | None = None
    retired: list[_Worker] = field(default_factory=list)
    failures: int = 0
    restart_at_s: float = 0.0

    def workers(self) -> list[_Worker]:
        return [
            worker for worker in (self.current, self.successor, *self.retired) if worker is not None
        ]

    def refuse(self) -> None:
        """Until a worker listens, a client that connects is refused at once, and may ask another
        server.

        The port stays ours.
        """
        if self.listener.family != socket.AF_UNIX:
            with suppress(OSError):  # no worker has come so far as to listen
                self.listener.shutdown(socket.SHUT_RD)

    def hand_over(self) -> None:
        """The successor, if there is one, is the current worker from here on."""
        self.current, self.successor = self.successor, None


class Master:
    """Keeps `count` workers on `listeners`. `run` returns once they were told to stop and have.

    Args:
        listeners: one for each worker, or a single one for all; a worker listens once it can
            answer.
        make_worker: called in each worker, after the fork.
        stop_within_s: workers that take longer to drain are killed.
    """

    def __init__(
        self,
        count: int,
        listeners: Sequence[socket.socket],
        make_worker: MakeWorker,
        *,
        stop_within_s: float,
    ) -> None:
        self._slots = [_Slot(place, listeners[place % len(listeners)]) for place in range(count)]
        self._make_worker = make_worker
        self._stop_within_s = stop_within_s
        self._to_replace: deque[_Slot] = deque()
        self._stopping = False
        self._was_ready = False
        self._looked_s = time.monotonic()
        name = listeners[0].getsockname()
        # So that the first workers of two masters on one machine stay out of each other's way.
        self._first_core = int(name[1]) if isinstance(name, tuple) else 0

    def is_ready(self) -> bool:
        """May this address be sent work. Any thread may ask."""
        now_s = time.monotonic()
        return not self._stopping and any(
            slot.current is not None and slot.current.may_be_asked(now_s) for slot in self._slots
        )

    def run(self) -> None:
        """Call it in the main thread, where signals arrive.

        Raises:
            CannotStartError: a worker said so before any had ever been ready.
        """
        with self._signals() as wake:
            try:
                for slot in self._slots:
                    slot.current = self._start(slot)
                while not self._stopping:
                    self._wait(wake)
                    self._look_after()
            finally:
                self._stop(wake)

    # Waiting.

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Signals become bytes to read: nothing happens between two lines that do not expect it."""
        awake, wake = os.pipe()
        os.set_blocking(awake, False)
        os.set_blocking(wake, False)
        previous_fd = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        previous = {number: signal.signal(number, lambda *_: None) for number in _TOLD_BY}
        self._own_fds = (awake, wake)
        try:
            yield awake
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            os.close(awake)
            os.close(wake)

    def _wait(self, wake: int) -> None:
        """Until a signal, a worker's word, or the next thing to do."""
        now_s = time.monotonic()
        due_s = [slot.restart_at_s - now_s for slot in self._slots if slot.restart_at_s]
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        talking = {
            worker.reports: worker
            for slot in self._slots
            for worker in slot.workers()
            if worker.reports >= 0
        }
        for fd in talking:
            poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(max(0.0, min([_LOOK_EVERY_S, *due_s])) * 1000):
            if fd == wake:
                self._obey(os.read(wake, 64))
            elif said := os.read(fd, 4096):
                talking[fd].hear(said)
            else:
                os.close(fd)
                talking[fd].reports = -1
        self._excuse(time.monotonic() - self._looked_s - 2 * _LOOK_EVERY_S)
        self._looked_s = time.monotonic()

    def _excuse(self, asleep_s: float) -> None:
        """The machine, or this process, was stopped: the workers cannot have been heard
        meanwhile."""
        if asleep_s > 0:
            for slot in self._slots:
                for worker in slot.workers():
                    worker.heard_s += asleep_s

    def _obey(self, signals: bytes) -> None:
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            self._stopping = True
        if signal.SIGHUP in signals:
            _log.info("workers_replaced", workers=len(self._slots))
            # A successor that is starting is finished first, and then replaced like the others.
            begun = [slot for slot in self._slots if slot.successor is not None]
            self._to_replace = deque([*begun, *self._slots])

    # Looking after.

    def _look_after(self) -> None:
        now_s = time.monotonic()
        for slot in self._slots:
            for worker in slot.workers():
                if worker.hangs(now_s):
                    _log.error("worker_hung", worker=worker.number, pid=worker.pid)
                    self._tell(worker, signal.SIGKILL)
                self._bury_if_dead(slot, worker, now_s)
            if slot.current is None and slot.restart_at_s and now_s >= slot.restart_at_s:
                slot.restart_at_s = 0.0
                slot.current = self._start(slot)
        self._replace_next()
        current = [slot.current for slot in self._slots if slot.current is not None]
        _READY_WORKERS.set(sum(worker.may_be_asked(now_s) for worker in current))

    def _bury_if_dead(self, slot: _Slot, worker: _Worker, now_s: float) -> None:
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if not pid:
            return
        if worker.reports >= 0:
            # What it said last; its end of the pipe is closed, so this does not wait.
            while said := os.read(worker.reports, 4096):
                worker.hear(said)
            os.close(worker.reports)
        forget_worker(worker.number)
        self._was_ready = self._was_ready or worker.was_ready
        code = os.waitstatus_to_exitcode(status)
        reason = worker.reason.decode(errors="replace")
        line = {"worker": worker.number, "pid": worker.pid, "exit_code": code, "reason": reason}
        if worker in slot.retired:
            slot.retired.remove(worker)
            _log.info("worker_ended", **line)
        elif worker is slot.successor:
            slot.successor = None
            self._to_replace.clear()
            _log.error("workers_not_replaced", **line)
        elif self._stopping:
            slot.hand_over()
            _log.info("worker_ended", **line)
        else:
            slot.hand_over()
            _DEATHS.inc()
            _log.error("worker_died", **line)
            if reason and not self._was_ready:
                raise CannotStartError(reason)
            if slot.current is None:
                self._start_again(slot, now_s - worker.started_s)

    def _start_again(self, slot: _Slot, lived_s: float) -> None:
        """At once, while clients wait in the queue; later and later for one that dies young."""
        slot.failures = failures_in_a_row(slot.failures, lived_s)
        wait_s = pause_s(slot.failures - 1)
        slot.restart_at_s = time.monotonic() + wait_s
        if wait_s:
            slot.refuse()

    def _replace_next(self) -> None:
        """The new worker of a slot first, then the old one's end, then the next slot."""
        while self._to_replace:
            slot = self._to_replace[0]
            if slot.successor is None and slot.current is not None:
                for worker in slot.retired:
                    self._tell(worker, signal.SIGTERM)  # one generation at a time
                slot.successor = self._start(slot)
            if slot.successor is not None:
                if not slot.successor.ready:
                    return
                assert slot.current is not None
                self._tell(slot.current, RETIRE)
                slot.retired.append(slot.current)
                slot.hand_over()
            self._to_replace.popleft()

    def _stop(self, wake: int) -> None:
        self._stopping = True
        for slot in self._slots:
            slot.listener.close()
            slot.restart_at_s = 0.0
            for worker in slot.workers():
                self._tell(worker, signal.SIGTERM)
        give_up_s = time.monotonic() + self._stop_within_s
        while any(slot.workers() for slot in self._slots):
            for slot in self._slots:
                for worker in slot.workers():
                    if time.monotonic() >= give_up_s:
                        _log.error("worker_killed", worker=worker.number)
                        self._tell(worker, signal.SIGKILL)
                    self._bury_if_dead(slot, worker, time.monotonic())
            if any(slot.workers() for slot in self._slots):
                self._wait(wake)
        for slot in self._slots:
            slot.handover.close()

    def _tell(self, worker: _Worker, number: signal.Signals) -> None:
        os.kill(
            worker.pid, number
        )  # it is ours and not waited for yet, so its id is no other process's

    # Forking.

    def _start(self, slot: _Slot) -> _Worker:
        number = free_number(worker.number for slot in self._slots for worker in slot.workers())
        reports, theirs = os.pipe()
        master = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, RETIRE))
        # NOTE: the only other thread of a master answers the operators' port, and holds no lock
        # that a worker takes.
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, number, theirs, reports, master)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, RETIRE))
        os.close(theirs)
        now_s = time.monotonic()
        _log.info("worker_started", worker=number, pid=pid)
        return _Worker(pid, number, reports, now_s, now_s)

    def _become_worker(
        self, slot: _Slot, number: int, reports: int, unused: int, master: int
    ) -> NoReturn:
        code = 1
        try:
            die_with(master)
            signal.set_wakeup_fd(-1)
            for ignored in (signal.SIGINT, signal.SIGHUP):  # a terminal's, which mean the master
                signal.signal(ignored, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._close_the_masters(slot, unused)
            pin(self._first_core + slot.place)
            take_number(number)
            name_in_every_line(worker=number)
            code = run_worker(self._make_worker, slot.listener, slot.handover, reports)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _close_the_masters(self, mine: _Slot, unused: int) -> None:
        """Or a dead worker's clients would wait on a socket that a sibling holds open without
        serving it."""
        for fd in (*self._own_fds, unused):
            os.close(fd)
        for slot in self._slots:
            if slot.listener is not mine.listener:
                slot.listener.close()
            if slot is not mine:
                slot.handover.close()
            for worker in slot.workers():
                if worker.reports >= 0:
                    os.close(worker.reports)
