"""A worker's own side: what a forked process does between its first line and its exit code.

It tells its master through a pipe whether it is ready, twice a second, so that a worker that hangs
is as visible as one that died. While it starts, it tells whenever it has come further. Rejected:
asking it through the door, where the kernel chooses which worker gets the question.

    os._exit(run_worker(make_worker, listener, handover, reports))    # after the fork
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Protocol

import structlog

from tidings.process.errors import EXIT_CANNOT_START, CannotStartError
from tidings.process.handover import Handover
from tidings.process.tally import hand_over_all

RETIRE = signal.SIGUSR1
READY, NOT_READY, FAILED = b"+", b"-", b"!"
BEAT_S = 0.5
_PR_SET_PDEATHSIG = 1

_log = structlog.get_logger()


class Service(Protocol):
    """What a worker runs: anything that serves until it is told to stop."""

    @property
    def is_stopping(self) -> bool:
        """It was told to stop, and may still be at work."""

    def is_ready(self) -> bool:
        """May it be sent work now."""

    def serve(self) -> None:
        """Serve; returns once it was told to stop, and has."""

    def drain(self) -> None:
        """Stop soon, with everything answered. A signal handler may call it."""

    def retire(self) -> None:
        """Stop without losing a client, because another worker has taken over its socket."""


# To be called by a start that takes long whenever it has come further.
Progress = Callable[[], None]
# Makes a service on a listening socket, which takes over the connections of the worker before it,
# and takes down afterwards what it made for it.
MakeWorker = Callable[[socket.socket, Handover, Progress], AbstractContextManager[Service]]


class _StoppedEarlyError(Exception):
    """The worker was told to stop while it was starting."""


def run_worker(make: MakeWorker, listener: socket.socket, handover: Handover, reports: int) -> int:
    """Serve on `listener` until SIGTERM (drain) or `RETIRE`; returns the exit code.

    Both signals are blocked when this is called, so that none comes before there is a server to be
    told.
    """
    try:
        with make(listener, handover, partial(_tell_progress, reports)) as server:
            signal.signal(signal.SIGTERM, lambda *_: server.drain())
            signal.signal(RETIRE, lambda *_: server.retire())
            threading.Thread(
                target=_report, args=(server, reports), name="reports", daemon=True
            ).start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, RETIRE))
            server.serve()
    except _StoppedEarlyError:
        return 0
    except CannotStartError as ex:
        with suppress(OSError):
            os.write(reports, FAILED + str(ex).encode()[:2000])
        return EXIT_CANNOT_START
    except Exception:  # noqa: BLE001 - logged; the exit code tells the master
        _log.exception("worker_failed")
        return 1
    finally:
        hand_over_all()
    return 0


def _tell_progress(reports: int) -> None:
    """A start is given time as long as it comes further, and is over when it is told to stop."""
    if {signal.SIGTERM, RETIRE} & signal.sigpending():
        raise _StoppedEarlyError
    with suppress(OSError):  # the master is gone, and this process goes with it
        os.write(reports, NOT_READY)


def _report(server: Service, reports: int) -> None:
    pause = threading.Event()
    while not server.is_ready() and not pause.wait(0.01):
        if server.is_stopping:
            return
    try:
        while True:
            hand_over_all()  # a scrape asks the master
            os.write(reports, READY if server.is_ready() else NOT_READY)
            pause.wait(BEAT_S)
    except OSError:
        server.drain()  # the master is gone, which would start this worker again


def die_with(parent: int) -> None:
    """End this process at once when `parent`, which has just forked it, is gone. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def pin(place: int) -> None:
    """Stay on one core: threads of one interpreter that run on two fight for its lock, at half the
    calls."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        with suppress(OSError):  # a container may forbid it
            os.sched_setaffinity(0, {cores[place % len(cores)]})
