"""A site to break: real MariaDB, real Redis, daemons and a shop as processes, and a supervisor that
starts them again.

MariaDB runs under libfaketime so that its clock can be set while it runs, and its users may not do
what an ordinary user may not. Everything that is drawn comes from one seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pymysql
import redis
from sqlalchemy import Engine, insert, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import invariants
from tests.faults.cutter import CommitCutter
from tests.faults.shopkeeper import Plan
from tests.lab.servers import MariaDBServer, RedisServer, ServerError, free_port, spawn, wait_until
from tidings.process.errors import EXIT_CANNOT_START, PREFIX
from tidings.process.settings import read_settings
from tidings.shop import stock
from tidings.shop.tables import sku
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

REPOSITORY = Path(__file__).parents[2]
SKUS = 12
STOCK = 100_000
# Nobody orders it; a fault locks it.
HELD_SKU = SKUS + 1
# Everybody orders it, and there are few.
HOT_SKU, HOT_STOCK = SKUS + 2, 30
SETTLE_S = 20.0


class FakedClockMariaDB(MariaDBServer):
    """A MariaDB whose wall clock reads what a file says; its monotonic clock stays honest."""

    def set_clock(self, offset_s: int) -> None:
        new = self.folder / "clock.new"
        new.write_text(f"{offset_s:+d}")
        new.replace(self.folder / "clock")

    @contextmanager
    def root(self) -> Iterator[Callable[[str], Any]]:
        """Runs statements over one connection of the administrator's, who keeps it when no other
        client gets one."""
        socket = str(self.folder / "socket")
        with (
            pymysql.connect(
                unix_socket=socket, user="root", autocommit=True, read_timeout=30
            ) as connection,
            connection.cursor() as cursor,
        ):

            def execute(statement: str) -> Any:
                cursor.execute(statement)
                return cursor.fetchall()

            yield execute

    def _command(self) -> list[str]:
        if not (self.folder / "clock").exists():
            self.set_clock(0)
        return [
            "env",
            *faketime_env(FAKETIME_TIMESTAMP_FILE=str(self.folder / "clock")),
            *super()._command(),
        ]


def faketime_env(**variables: str) -> list[str]:
    """What makes a program's clock read something else.

    Raises:
        ServerError: libfaketime is not installed.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise ServerError("libfaketime is not installed; it is in the Debian package libfaketime")
    fixed = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return [f"{name}={value}" for name, value in (fixed | variables).items()]


@dataclass
class Process:
    """A process that is kept running: started anew whenever the test has killed it."""

    name: str
    command: list[str]
    env: dict[str, str]
    log: Path
    port: int = 0
    popen: subprocess.Popen[bytes] | None = None
    is_wanted: bool = False
    cwd: Path = REPOSITORY

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.popen = spawn(
                self.command, env=self.env, cwd=self.cwd, stdout=output, stderr=output
            )
        self.is_wanted = True

    def send(self, number: int) -> None:
        assert self.popen is not None
        with suppress(ProcessLookupError):
            self.popen.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it on purpose; an end that was not on purpose is a violation."""
        assert self.popen is not None
        self.is_wanted = False
        if self.popen.poll() is None:
            self.send(number)
            self.send(signal.SIGCONT)
            self.popen.wait(30)

    @property
    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def is_up(self, path: str = "/health/ready") -> bool:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def shows(self, sample: str) -> bool:
        """Whether a line of its metrics begins so."""
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer,
        ):
            return f"\n{sample}" in answer.read().decode()
        return False


def _is_up_or_over(daemon: Process) -> bool:
    return daemon.is_up() or not daemon.is_running


@dataclass
class World:
    """Everything a fault can be done to."""

    folder: Path
    database: FakedClockMariaDB
    redis: RedisServer
    seed: int
    url: str = ""
    timeout_s: float = 3.0
    daemons: list[Process] = field(default_factory=list)
    shops: list[Process] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    # Held while Redis is not as it should be, by whoever has seen to that.
    redis_lock: threading.Lock = field(default_factory=threading.Lock)
    cutter: CommitCutter | None = None

    def __post_init__(self) -> None:
        self._supervising = threading.Lock()
        self._stack = ExitStack()
        self.random = random.Random(self.seed)
        self.url = self.database.new_database()
        self.engine = self._make_engine()
        migrate(self.engine)
        with transaction(self.engine) as conn:
            plain = {"price_cents": 100, "currency": "EUR", "quantity": 0}
            pieces = dict.fromkeys(range(1, HELD_SKU + 1), STOCK) | {HOT_SKU: HOT_STOCK}
            conn.execute(insert(sku), [{"id": n, "title": f"E{n}", **plain} for n in pieces])
            for n, number in pieces.items():
                stock.receive(conn, n, number, delivery=n)

    @property
    def name(self) -> str:
        """The database's."""
        return self.url.rpartition("/")[2]

    def cut_commits(self) -> None:
        """From now on processes that are started reach the database over a wire that can be cut."""
        self.cutter = self._stack.enter_context(
            CommitCutter(self.database.port, random.Random(f"{self.seed}:cutter"))
        )

    def _cut_url(self, port: int) -> str:
        return make_url(self.url).set(port=port).render_as_string(hide_password=False)

    def _make_engine(self) -> Engine:
        return make_engine(
            read_settings(None, database_url=self.url, database_read_timeout_s=60).database
        )

    def environment(self, **more: str) -> dict[str, str]:
        # What is killed cannot say which lines it ran, and would only be slower for writing them
        # down.
        strange = (PREFIX, "COVERAGE_PROCESS")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
        ours = {
            "database_url": self.url if self.cutter is None else self._cut_url(self.cutter.port),
            "redis_url": self.redis.url,
            "secret_keys": "0123456789abcdef" * 4,
            "var_dir": str(self.folder),
            "log_format": "json",
            **more,
        }
        return kept | {PREFIX + name.upper(): value for name, value in ours.items()}

    def add_daemons(
        self,
        n: int = 1,
        *,
        module: Sequence[str] = ("jobs",),
        before: Sequence[str] = (),
        **more: str,
    ) -> None:
        for _ in range(n):
            port = free_port()
            env = self.environment(jobs_metrics_bind=f"127.0.0.1:{port}") | more
            name = f"daemon{len(self.daemons)}"
            command = [*before, sys.executable, "-m", *module]
            self.daemons.append(Process(name, command, env, self.folder / f"{name}.log", port))
            self.daemons[-1].start()

    def open_shop(
        self, *, shops: int = 1, products: Sequence[int] = range(1, SKUS + 1), **more: Any
    ) -> None:
        for n in range(len(self.shops), len(self.shops) + shops):
            plan = Plan(
                str(self.folder / "ledger"),
                f"{self.seed}:{n}",
                self.timeout_s,
                list(products),
                **more,
            )
            command = [
                sys.executable,
                "-m",
                "tests.faults.shopkeeper",
                msgspec.json.encode(plan).decode(),
            ]
            env = self.environment(database_pool_size="40")
            self.shops.append(Process(f"shop{n}", command, env, self.folder / f"shop{n}.log"))
            self.shops[-1].start()

    def wait_until_open(self) -> None:
        """Return when all daemons are up and the first order has been placed."""
        for daemon in self.daemons:
            wait_until(partial(_is_up_or_over, daemon), 40, daemon.name)
            if not daemon.is_running:
                raise ServerError(daemon.log.read_text()[-3000:])
        wait_until(lambda: bool(self.read_ledger()), 30, "the first order")

    def read_ledger(self) -> list[dict[str, Any]]:
        return invariants.read_ledger(self.folder / "ledger")

    def pause(self, seconds: float) -> bool:
        """Wait; True when the scenario is over."""
        return self.stopping.wait(seconds)

    def execute(self, *statements: str) -> Any:
        """Run statements as the database's administrator, if it can be had at this moment."""
        with suppress(pymysql.MySQLError):
            return self.database.execute(*statements)
        return ()

    def supervise(self) -> None:
        """Start anew what ended without having been killed. That is a violation, unless it could
        not even start."""
        with self._supervising:
            for daemon in self.daemons:
                if not daemon.is_wanted or daemon.is_running or daemon.popen is None:
                    continue
                if daemon.popen.returncode != EXIT_CANNOT_START:
                    self.died.append(f"{daemon.name} exited {daemon.popen.returncode}")
                    # For whoever reads the report: logs are gone by then.
                    print(self.died[-1], daemon.log.read_text()[-3000:], sep="\n")
                daemon.start()

    def settle(self, within_s: float = SETTLE_S) -> Counter[str]:
        """Close the shop, wait until nothing is overdue, and check every invariant."""
        for shop in self.shops:
            shop.kill()
        self.supervise()
        wait_until(self.answers, 30, "the database")
        with suppress(TimeoutError):
            wait_until(self._is_calm, within_s, "nothing to be overdue")
        for daemon in self.daemons:
            try:
                # It may have been started this very moment.
                wait_until(lambda daemon=daemon: daemon.is_up("/health/live"), 20, daemon.name)  # type: ignore[misc]
            except TimeoutError:
                self.died.append(f"{daemon.name} says that it is dead, or nothing")
        self.supervise()
        return invariants.check(self.engine, self.read_ledger(), self.died)

    def answers(self) -> bool:
        try:
            with self.engine.connect() as conn:
                conn.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def _is_calm(self) -> bool:
        self.supervise()
        try:
            return invariants.count_overdue(self.engine, 0) == 0 and self._nothing_waits()
        except SQLAlchemyError:
            return False

    def _nothing_waits(self) -> bool:
        with self.engine.connect() as conn:
            waiting = (
                "SELECT COUNT(*) FROM delayed_job WHERE kind = 'order_timeout' AND state = "
                "'waiting'"
            )
            return bool(conn.scalar(text(waiting)) == 0)

    def close(self) -> None:
        self.stopping.set()
        for process in (*self.shops, *self.daemons):
            process.kill()
        self._stack.close()
        self.engine.dispose()


@contextmanager
def servers() -> Iterator[tuple[FakedClockMariaDB, RedisServer]]:
    """The servers that scenarios are run on, one after the other."""
    with ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
            for _ in range(2)
        ]
        database = stack.enter_context(FakedClockMariaDB(folders[0]))
        yield database, stack.enter_context(RedisServer(folders[1], ("--appendonly", "yes")))


@contextmanager
def world(
    database: FakedClockMariaDB,
    redis_server: RedisServer,
    *,
    seed: int,
    folder: Path,
    timeout_s: float,
) -> Iterator[World]:
    """A fresh site on those servers, whose orders stay unpaid for `timeout_s`."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=5) as client:
        client.flushall()
    made = World(folder, database, redis_server, seed, timeout_s=timeout_s)
    try:
        yield made
    finally:
        made.close()
