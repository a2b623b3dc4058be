"""Opens the database with every wait bounded, by the deadline of the request where there is one.

SQLAlchemy's defaults wait for ever in three places (connect, read, lock) and PyMySQL keeps one
snapshot open between requests; both have cost people nights. Here reads run in a transaction that
ends with the `with` block, and a connection that failed mid-statement is thrown away, never reused.
A request waits for a free connection, and for a lock, no longer than its deadline; work without a
deadline, as in a job, waits for the longest time that is set here. Rejected: one short wait for
all; a nightly job would give up behind every import.

    with transaction(make_engine(settings.database)) as conn:
        conn.execute(insert(channel), rows)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import structlog
from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event, func, make_url
from sqlalchemy.engine.interfaces import DBAPICursor, ExceptionContext, ExecutionContext
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util.queue import Queue

from tidings.process.deadline import Deadline, DeadlineExceededError, current_deadline
from tidings.process.settings import DatabaseSettings
from tidings.store.metadata import Moment
from tidings.store.retry import is_passing

SQLITE_BUSY_MS = 5000
# Between two looks whether SQLite's writer is done, as in SQLite's own wait.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.025
LOCK_WAIT_S = 5
# What is left of a deadline is told to SQLite in these steps, so that it is seldom told anew.
BUSY_STEP_MS = 50
# A server that lives ends a statement at the deadline, and its word that it did needs some time;
# only one that hangs is given up after this.
ANSWER_GRACE_S = 0.2
# MariaDB's ER_STATEMENT_TIMEOUT and MySQL's ER_QUERY_TIMEOUT.
STATEMENT_TIMEOUTS = ((1969,), (3024,))


class _DeadlineQueue(Queue[Any]):
    """The free connections; a request waits for one no longer than its deadline."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        deadline = current_deadline()
        if deadline is not None and timeout is not None:
            timeout = min(timeout, max(deadline.remaining_ms() / 1000, 0))
        return super().get(block, timeout)


class _DeadlinePool(QueuePool):
    _queue_class = _DeadlineQueue


# A pool's lines about itself come under the name of its class, and SQLAlchemy quiets only its own.
logging.getLogger(f"{_DeadlinePool.__module__}.{_DeadlinePool.__name__}").setLevel(logging.WARNING)


def make_engine(database: DatabaseSettings) -> Engine:
    """An engine with a bounded pool. It connects on first use, so build it after a fork, never
    before."""
    url = make_url(database.url)
    options: dict[str, Any]
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        options = {"connect_args": {"timeout": SQLITE_BUSY_MS / 1000, "check_same_thread": False}}
    else:
        options = {"isolation_level": "READ COMMITTED"}
        options["connect_args"] = {
            "charset": "utf8mb4",
            "connect_timeout": database.connect_timeout_s,
            "read_timeout": database.read_timeout_s,
            "write_timeout": database.read_timeout_s,
            "init_command": (
                f"SET time_zone='+00:00', innodb_lock_wait_timeout={LOCK_WAIT_S}, "
                "sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION'"
            ),
        }
    engine = create_engine(
        url,
        poolclass=_DeadlinePool,
        pool_size=database.pool_size,
        max_overflow=0,
        pool_timeout=database.pool_timeout_s,
        pool_recycle=1800,
        **options,
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "begin", _bound_mysql_lock_wait)
        event.listen(engine, "checkout", partial(_ping_mysql, database))
        event.listen(engine, "do_connect", partial(_bound_mysql_connect, database))
        event.listen(engine, "before_cursor_execute", partial(_bound_mysql_answer, database))
    event.listen(engine, "before_cursor_execute", _prepare_statement, retval=True)
    event.listen(engine, "handle_error", _translate_timeout)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that will write: committed at the end, rolled back on any
    exception.

    SQLite has one writer. Saying so at BEGIN makes the second one wait its turn, where a
    transaction that began as a reader would fail the moment it tried to write.
    """
    afterwards: list[Callable[[], object]] = []
    with engine.execution_options(writes=True, after_commit=afterwards).begin() as conn:
        yield conn
    for act in afterwards:
        act()


def after_commit(conn: Connection, act: Callable[[], object]) -> None:
    """Have `act()` called once the transaction of `transaction()` has committed; never if it does
    not.

    For effects outside the database that must follow a change, such as a cache that forgets. A
    process that dies in between loses them, so they may only be such that time mends.
    """
    conn.get_execution_options()["after_commit"].append(act)


def database_now(conn: Connection) -> ColumnElement[Any]:
    """The database's own clock in UTC, as an expression to compare `Moment` columns with.

    What depends on "is it due yet" asks the clock that every process shares, never its own.
    """
    if conn.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=Moment)
    return func.utc_timestamp(3, type_=Moment)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: it would start them as readers and fail to
    # upgrade.
    connection.isolation_level = None
    # SQLite holds any bytes as text, and one title that another program spoilt would take every
    # page with it that it stands on.
    connection.text_factory = _read_text
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _read_text(text: bytes) -> str:
    return text.decode(errors="replace")


def _begin_sqlite(conn: Any) -> None:
    wait_ms = SQLITE_BUSY_MS
    deadline = current_deadline()
    if deadline is not None:
        left_ms = int(deadline.remaining_ms()) // BUSY_STEP_MS * BUSY_STEP_MS
        wait_ms = max(min(left_ms, wait_ms), BUSY_STEP_MS)
    writes = conn.get_execution_options().get("writes", False)
    told_ms = 0 if writes else wait_ms
    if conn.info.get("wait_ms", SQLITE_BUSY_MS) != told_ms:
        conn.info["wait_ms"] = told_ms
        conn.exec_driver_sql(f"PRAGMA busy_timeout={told_ms}")
    if writes:
        _take_sqlite_turn(conn, wait_ms, deadline)
    else:
        conn.exec_driver_sql("BEGIN")


def _take_sqlite_turn(conn: Any, wait_ms: int, deadline: Deadline | None) -> None:
    """Become the one writer. Python waits, since coroutines go on meanwhile: in SQLite's own wait,
    a node of the chat would answer none of its sockets. Pauses are counted, not seconds: while the
    whole machine stood still, the writer before could not end either."""
    left_s = wait_ms / 1000
    pause_s = SHORTEST_PAUSE_S
    while True:
        try:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as ex:
            is_late = deadline is not None and deadline.remaining_ms() <= 0
            if is_passing(ex) != "lock_wait" or left_s <= 0 or is_late:
                raise
        time.sleep(pause_s)
        left_s -= pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _bound_mysql_lock_wait(conn: Any) -> None:
    # MariaDB ends any statement at its deadline, one that waits for a lock too; MySQL ends SELECTs
    # only, and counts the wait for a lock in whole seconds.
    if conn.dialect.is_mariadb or not conn.get_execution_options().get("writes", False):
        return
    wait_s = LOCK_WAIT_S
    deadline = current_deadline()
    if deadline is not None:
        wait_s = max(min(int(deadline.remaining_ms() / 1000), wait_s), 1)
    if conn.info.get("wait_s", LOCK_WAIT_S) != wait_s:
        conn.info["wait_s"] = wait_s
        conn.exec_driver_sql(f"SET innodb_lock_wait_timeout={wait_s}")


def _bound_mysql_connect(
    database: DatabaseSettings, _dialect: Any, _record: Any, _args: Any, options: dict[str, Any]
) -> None:
    for name, longest_s in (
        ("connect_timeout", database.connect_timeout_s),
        ("read_timeout", database.read_timeout_s),
        ("write_timeout", database.read_timeout_s),
    ):
        options[name] = _wait_s(longest_s)


def _ping_mysql(database: DatabaseSettings, connection: Any, *_: object) -> None:
    """See that a connection lives: what SQLAlchemy's own `pool_pre_ping` does, to the deadline."""
    connection._read_timeout = _wait_s(database.read_timeout_s)
    try:
        connection.ping(reconnect=False)
    except pymysql.Error as ex:
        raise DisconnectionError(str(ex)) from ex


def _bound_mysql_answer(
    database: DatabaseSettings, _conn: Connection, cursor: DBAPICursor, *_: object
) -> None:
    # PyMySQL reads it anew for each packet, and gives no other way to change it.
    cursor.connection._read_timeout = _wait_s(database.read_timeout_s)


def _wait_s(longest_s: float) -> float:
    """How long a server that hangs is waited for: to the deadline, where there is one."""
    deadline = current_deadline()
    if deadline is None:
        return longest_s
    return min(max(deadline.remaining_ms() / 1000, 0) + ANSWER_GRACE_S, longest_s)


def _prepare_statement(
    conn: Connection,
    _cursor: DBAPICursor,
    statement: str,
    parameters: Any,
    _context: ExecutionContext | None,
    many: bool,
) -> tuple[str, Any]:
    """Name the request in the statement, and let the server give up when its caller does."""
    deadline = current_deadline()
    if deadline is not None:
        deadline.check()
    if many:
        # PyMySQL makes one INSERT of many rows only where nothing stands before or behind it; of
        # another one it makes a round trip a row. The wait for its answer is bounded all the same.
        return statement, parameters
    if deadline is not None:
        if getattr(conn.dialect, "is_mariadb", False):
            statement = (
                f"SET STATEMENT max_statement_time={deadline.remaining_ms() / 1000:.3f} "
                f"FOR {statement}"
            )
        elif conn.dialect.name == "mysql" and statement.startswith("SELECT"):
            statement = (
                f"SELECT /*+ MAX_EXECUTION_TIME({deadline.remaining_ms():.0f}) */{statement[6:]}"
            )
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        statement = f"{statement} /* request_id={request_id} */"
    return statement, parameters


def _translate_timeout(context: ExceptionContext) -> None:
    code = context.original_exception.args[:1]
    if code in STATEMENT_TIMEOUTS:
        raise DeadlineExceededError("the database did not answer before the deadline") from None
