"""The daemon: APScheduler as its clock, loops beside it, and a main thread that only watches.

Any number of daemons may run; what must happen once is settled in the database, never by being
alone. The watching thread does no work of its own, so nothing can hide from it: if the scheduler's
thread is dead or has not looked for five seconds it ends the process with an error, and the
supervisor starts a new one. Rejected: a scheduler that repairs itself; a process that has lost a
thread has lost more than it knows.

    exit_code = make_daemon(settings, engines, redis, owner=make_owner_name(), ...).run()
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial
from importlib.metadata import version

import structlog
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import Counter
from redis import Redis
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import SQLAlchemyError

from jobs.delayed.batches import Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.delayed.hints import HintListener
from jobs.delayed.job_store import BATCHES_PER_KIND, TableJobStore
from jobs.engines import Engines
from jobs.errands import Errand
from jobs.handlers import Handler
from jobs.loops import Loop
from jobs.static.context import Context
from jobs.static.runs import BEAT_EVERY_S, StaticJob, find_due, read_now, run_due
from jobs.tables import daemon
from tidings.process.settings import Settings
from tidings.store.engine import database_now, transaction

CATCH_UP_EVERY_S = 10
FORGET_DAEMON_AFTER = timedelta(days=1)
DRAIN_S = 10
WATCH_EVERY_S = 1.0
SILENT_CHECKS = 5
# Apart, so that building pages never keeps orders waiting, nor either of them a heartbeat. One
# place more for batches than one kind can take, so that a kind whose handler hangs never bars the
# others.
BATCH_THREADS = BATCHES_PER_KIND + 1
EXECUTORS = {
    "due": BATCH_THREADS,
    "watch": 2,
    "static": 2,
    "pages": 1,
    "sources": 1,
    "covers": 1,
    "long": 2,
}

log = structlog.get_logger(__name__)
_ERRORS = Counter("tidings_jobs_errors", "Errors of the daemon itself, by where", ["where"])


class _Pool(BasePoolExecutor):  # type: ignore[misc]  # APScheduler ships no annotations
    """APScheduler's thread pool, with the pool where a drain can wait for it."""

    def __init__(self, name: str, workers: int) -> None:
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        super().__init__(self.pool)


class Daemon:
    """Made by `make_daemon`. `run` blocks until `stop` is called, and returns the process's exit
    code."""

    def __init__(
        self,
        context: Context,
        jobs: Sequence[StaticJob],
        loops: Sequence[tuple[str, Callable[[Context], object]]],
        store: TableJobStore,
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._store = store
        self._pools = {name: _Pool(name, size) for name, size in EXECUTORS.items()}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            jobstores={"default": MemoryJobStore(), "due": store},
            executors=self._pools,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        listener = HintListener(context.redis, self._scheduler.wakeup)
        self._loops = [Loop(name, partial(work, context), context.stopping) for name, work in loops]
        self._loops.append(Loop("hints", listener, context.stopping))
        self._started = False
        self._catching_up: set[str] = set()
        for job in jobs:
            self._scheduler.add_job(
                self._fire, job.trigger, args=(job,), id=job.name, executor=job.executor
            )
        for work, every_s in ((self._beat, BEAT_EVERY_S), (self._catch_up, CATCH_UP_EVERY_S)):
            self._scheduler.add_job(work, "interval", seconds=every_s, executor="watch")

    @property
    def scheduler(self) -> BackgroundScheduler:
        """APScheduler's own object, for `add_job(Task(kind), "date", …, jobstore="due")` and its
        listeners."""
        return self._scheduler

    def stop(self) -> None:
        """Ask the daemon to finish or roll back what it is at and to end; safe in a signal
        handler."""
        self._context.stopping.set()

    @property
    def is_ready(self) -> bool:
        return self._started and self.is_live and not self._context.stopping.is_set()

    @property
    def is_live(self) -> bool:
        return not self._dead_threads()

    def run(self) -> int:
        """Work until asked to stop.

        Returns:
            0 after an orderly end; 1 if a thread died or fell silent, for the supervisor to start
            anew.
        """
        self._beat()
        self._scheduler.start()
        for loop in self._loops:
            loop.start()
        self._started = True
        log.info("daemon_started", owner=self._context.owner, jobs=[job.name for job in self._jobs])
        self._catch_up()
        code = self._watch()
        self._drain()
        log.info("daemon_stopped", owner=self._context.owner, code=code)
        return code

    def _watch(self) -> int:
        silent, seen = 0, -1
        # Checks are counted, not seconds: a process that was frozen and goes on has not been
        # silent.
        while not self._context.stopping.wait(WATCH_EVERY_S):
            silent = silent + 1 if self._store.looks == seen else 0
            seen = self._store.looks
            if silent == SILENT_CHECKS // 2:
                # Its wait is computed on the wall clock, which may have been set back meanwhile.
                self._scheduler.wakeup()
            dead = self._dead_threads() or (["look"] if silent >= SILENT_CHECKS else [])
            if dead:
                log.critical("thread_died_or_silent", threads=dead)
                self._context.stopping.set()
                return 1
        return 0

    def _dead_threads(self) -> list[str]:
        if not self._started or self._context.stopping.is_set():
            return []
        threads = {"scheduler": self._scheduler._thread.is_alive()} | {
            loop.name: loop.is_alive for loop in self._loops
        }
        return [name for name, alive in threads.items() if not alive]

    def _drain(self) -> None:
        """Let what runs end by itself, for DRAIN_S; what has not by then is rolled back by the
        process's end."""
        give_up_at = time.monotonic() + DRAIN_S
        ended = threading.Thread(target=self._shut_down, name="shutdown", daemon=True)
        ended.start()
        threads: list[threading.Thread | Loop] = [ended, *self._loops]
        for thread in threads:
            thread.join(max(give_up_at - time.monotonic(), 0.1))
        if ended.is_alive():
            log.warning("drain_timed_out", after_s=DRAIN_S)
        else:
            self._forget_self()

    def _shut_down(self) -> None:
        # NOTE: not `shutdown(wait=True)`: it waits for jobs while it holds a lock that those jobs
        # may want.
        self._scheduler.shutdown(wait=False)
        for executor in self._pools.values():
            executor.pool.shutdown(wait=True)

    def _fire(self, job: StaticJob) -> None:
        try:
            if not self._context.stopping.is_set():
                run_due(job, self._context)
        except SQLAlchemyError as ex:
            # The slot stays due: the next catch-up finds it.
            _ERRORS.labels("fire").inc()
            log.warning("job_not_fired", job=job.name, error=repr(ex))
        finally:
            self._catching_up.discard(job.name)

    def _catch_up(self) -> None:
        """Fire what was missed: while no daemon ran, the database was away, or clocks disagree."""
        try:
            missed = [
                job
                for job in self._jobs
                if find_due(self._context.engine, job, self._context.owner)
            ]
        except SQLAlchemyError as ex:
            _ERRORS.labels("catch_up").inc()
            log.warning("catch_up_failed", error=repr(ex))
            return
        for job in missed:
            if job.name not in self._catching_up:
                self._catching_up.add(job.name)
                self._scheduler.add_job(self._fire, args=(job,), executor=job.executor)

    def _beat(self) -> None:
        context = self._context
        try:
            with transaction(context.engine) as conn:
                values = {
                    "pid": os.getpid(),
                    "version": version("tidings"),
                    "beat_at": database_now(conn),
                }
                mine = daemon.c.name == context.owner
                if conn.execute(update(daemon).where(mine).values(values)).rowcount == 0:
                    conn.execute(insert(daemon).values(name=context.owner, **values))
                conn.execute(
                    delete(daemon).where(daemon.c.beat_at < read_now(conn) - FORGET_DAEMON_AFTER)
                )
        except SQLAlchemyError as ex:
            _ERRORS.labels("beat").inc()
            log.warning("beat_failed", error=repr(ex))

    def _forget_self(self) -> None:
        try:
            with transaction(self._context.engine) as conn:
                conn.execute(delete(daemon).where(daemon.c.name == self._context.owner))
        except SQLAlchemyError as ex:
            log.warning("daemon_row_left", error=repr(ex))


def make_daemon(
    settings: Settings,
    engines: Engines,
    redis: Redis,
    *,
    owner: str,
    jobs: Sequence[StaticJob],
    loops: Sequence[tuple[str, Callable[[Context], object]]],
    handlers: Mapping[str, Handler | Errand],
) -> Daemon:
    """The composition root: a daemon that has connected to nothing yet.

    Args:
        owner: names this daemon to the others; unique for each start.
        jobs: the table of static jobs.
        loops: name and work of what runs continuously.
        handlers: what delayed jobs do, by kind.
    """
    context = Context(engines.work, redis, settings, owner=owner)
    batches = Batches(engines.batch, handlers, ClockGuard(), stopping=context.stopping)
    return Daemon(context, jobs, loops, store=TableJobStore(engines.look, batches))
