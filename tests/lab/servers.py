"""Real MariaDB and Redis servers of the suite's own, on free ports, in folders that vanish with
them.

The system's servers are never touched: a test may kill, freeze or restart its server, and two
suites can run side by side. Not containers, which need a daemon and a registry that a plain machine
does not have.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import psutil
import pymysql
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
NO_RETRY = Retry(NoBackoff(), retries=0)
# A database lives in memory where there is room for those of a whole run: on a disk each statement
# that makes a table waits until ten writes have reached it.
_MEMORY = Path("/dev/shm")
_ROOM = 2 * 2**30
SYSTEM_PACKAGES = Path(__file__).parent.parent.parent / "requirements" / "system.txt"

# Whoever asks the kernel for "kill me with my parent" is bound to the thread that started it, so
# all servers are started by one thread that lives as long as the suite: a test may restart a server
# from a thread of its own.
_starter = ThreadPoolExecutor(1, thread_name_prefix="servers")


_given_out: set[int] = set()
# Each of the processes in which tests run side by side has ports of its own.
_FIRST_PORT = 20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 3 * 4_000
# Not the seeded one: two suites with one seed would meet at the same ports.
_system_random = random.SystemRandom()


class ServerError(Exception):
    """A server cannot be found or does not start. The message says what to install, or ends with
    its log."""


def find_program(name: str) -> str:
    """The path of a program; `/usr/sbin` counts, though an ordinary user's PATH leaves it out.

    Raises:
        ServerError: naming the Debian package to install.
    """
    found = shutil.which(
        name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    )
    if found:
        return found
    rows = [
        line.split()
        for line in SYSTEM_PACKAGES.read_text().splitlines()
        if not line.startswith("#")
    ]
    packages = dict(row for row in rows if row)
    raise ServerError(
        f"{name} is not installed; it is in the Debian package {packages.get(name, name)}"
    )


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that was not given out before.

    It lies below those that the kernel lends to outgoing connections: one of those could be quicker
    than its server.
    """
    while True:
        port = _FIRST_PORT + _system_random.randrange(4_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given_out:
                _given_out.add(port)
                return port


def _has_stopped(pid: int) -> bool:
    threads = psutil.Process(pid).threads()
    return all(psutil.Process(each.id).status() == psutil.STATUS_STOPPED for each in threads)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return as soon as `condition` holds.

    Args:
        timeout_s: what is enough on a machine that does nothing else; three times as long is
            waited, since tests run side by side.

    Raises:
        TimeoutError: it did not within that time.
    """
    timeout_s *= 3
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        time.sleep(0.01)


def let_children_be_interrupted() -> None:
    """Give the processes that are started from now on the usual SIGINT, which ends them.

    A shell starts what stands before `&` with SIGINT ignored, and every child inherits that; a
    handler, though, is not inherited across an exec. So this process goes on ignoring the signal,
    by a handler.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


def spawn(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that dies with the suite, even when the suite itself is killed, and not by
    its Ctrl-C."""
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command
    return _starter.submit(
        lambda: subprocess.Popen(tied, start_new_session=True, **options)
    ).result()


class Server:
    """A server process that keeps its port and its data from one start to the next."""

    program: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.program} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start, and return when the server answers.

        Raises:
            ServerError: with the end of the server's log.
        """
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = spawn(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise ServerError(
                    f"{self.program} did not start:\n{log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: what was not written by now never will be. Nothing happens if it is not
        running."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it has not ended after a while."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same port with the same data, after a kill if it still runs."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside the block the server accepts connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Threads on other processors go on until they have heard of it.
        wait_until(lambda: _has_stopped(self.pid), 10, "the server to stop")
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    """The system's `redis-server`, persisting nothing unless told to by `options`."""

    program = "redis-server"

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options

    def _command(self) -> list[str]:
        fixed = (
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            str(self.folder),
            "--save",
            "",
        )
        return [find_program(self.program), *fixed, *self._options]

    def _answers(self) -> bool:
        with (
            redis.Redis(port=self.port, socket_timeout=1, retry=NO_RETRY) as client,
            suppress(redis.RedisError),
        ):
            return bool(client.ping())
        return False


class MariaDBServer(Server):
    """The system's MariaDB with a fresh data folder, small, and without fsync.

    Its defaults are hostile on purpose: Latin-1, and a time zone that is not UTC. What a commit
    confirmed survives a `kill`, since it has reached the operating system by then.
    """

    program = "mariadbd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._names = count(1)
        self._accounts = folder / "accounts.sql"
        self._accounts.write_text(
            "CREATE USER IF NOT EXISTS tidings@'%' IDENTIFIED BY 'tidings';\nGRANT ALL ON *.* TO "
            "tidings@'%';\n"
        )
        self._run_as = ["--user=root"] if os.geteuid() == 0 else []
        self._install()

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"tidings_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, and first every connection to it, so that no forgotten lock delays the
        drop."""
        name = url.rpartition("/")[2]
        for (thread,) in self.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        ):
            with suppress(pymysql.OperationalError):  # it ended by itself
                self.execute(f"KILL {thread}")
        self.execute(f"DROP DATABASE {name}")

    def url(self, database: str) -> str:
        return f"mysql+pymysql://tidings:tidings@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """Run statements on one connection; the rows of the last one."""
        with (
            pymysql.connect(**self._account, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            rows: tuple[tuple[Any, ...], ...] = cursor.fetchall()
            return rows

    @property
    def _account(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "tidings",
            "password": "tidings",
        } | {
            "connect_timeout": 30,
            "read_timeout": 60,
            "charset": "utf8mb4",
            "ssl_disabled": True,  # else PyMySQL loads the CA certificates each time: 30 ms
        }

    def _install(self) -> None:
        program = find_program("mariadb-install-db")
        done = subprocess.run(
            [
                program,
                *self._storage(),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ServerError(
                f"{program} failed:\n{(done.stdout + done.stderr).decode(errors='replace')[-2000:]}"
            )

    def _storage(self) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--innodb-log-file-size=32M",
            "--innodb-flush-method=nosync",
            *self._run_as,
        ]

    def _command(self) -> list[str]:
        return [
            find_program(self.program),
            *self._storage(),
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self._accounts}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--max-connections=500",
            "--innodb-buffer-pool-size=128M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
            "--innodb-fast-shutdown=2",
            "--performance-schema=0",
            "--character-set-server=latin1",
            "--default-time-zone=+05:30",
        ]

    def _answers(self) -> bool:
        with suppress(pymysql.MySQLError):
            self.execute("SELECT 1")
            return True
        return False


@contextmanager
def start_redis(*options: str) -> Iterator[RedisServer]:
    """A Redis of one's own, to kill, freeze and restart; `options` as on its command line."""
    with _folder() as folder, RedisServer(folder, options) as server:
        yield server


@contextmanager
def start_mariadb() -> Iterator[MariaDBServer]:
    """A MariaDB of one's own, to kill, freeze and restart. It takes about a second."""
    with _folder(_find_memory()) as folder, MariaDBServer(folder) as server:
        yield server


@contextmanager
def _folder(within: Path | None = None) -> Iterator[Path]:
    # Not pytest's tmp_path: a UNIX socket's path is limited to 107 bytes, and test names are long.
    with tempfile.TemporaryDirectory(
        prefix=f"tidings-of-{os.getpid()}-", dir=within, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _find_memory() -> Path | None:
    if not _MEMORY.is_dir():
        return None
    # What a killed suite left would hold memory until the machine starts again.
    for left in _MEMORY.glob("tidings-of-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    return _MEMORY if shutil.disk_usage(_MEMORY).free > _ROOM else None
