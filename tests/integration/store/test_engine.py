"""The engine on both databases: moments and text come back as they went in, and no wait is without
an end."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
import structlog
from sqlalchemy import Engine, insert, literal, make_url, select, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.conftest import MakeSettings
from tests.lab.servers import MariaDBServer, start_mariadb, wait_until
from tidings.news.tables import channel
from tidings.process.deadline import Deadline, deadline_scope
from tidings.reading.tables import reader
from tidings.store import engine as engine_module
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.metadata import Moment

NOON = datetime(2026, 3, 29, 12, 0, 0, 123_000, UTC)


def ping(engine: Engine) -> None:
    """Raise unless the database answers."""
    with engine.connect() as conn:
        conn.execute(text("SELECT 1"))


def answers(engine: Engine) -> bool:
    with suppress(OperationalError):
        ping(engine)
        return True
    return False


@contextmanager
def took_an_end() -> Iterator[None]:
    """Fails if the block took longer than a second's wait does on the busiest machine. InnoDB's own
    wait for a lock takes more, and the others have no end."""
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < 45


def add_reader(engine: Engine, reader_id: int, seen_at: datetime) -> None:
    with transaction(engine) as conn:
        conn.execute(
            insert(reader).values(id=reader_id, first_seen_at=seen_at, last_seen_at=seen_at)
        )


def test_a_text_of_another_program_that_is_no_utf8_hides_no_row(
    make_settings: MakeSettings, sqlite_url: str
) -> None:
    """SQLite holds any bytes as text; what can be read of them is."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    with transaction(engine) as conn:
        conn.execute(
            insert(channel), [{"id": i, "slug": f"s{i}", "name": "Örtlich"} for i in (1, 2)]
        )
        conn.execute(text("UPDATE channel SET name = CAST(X'C3966CFF' AS TEXT) WHERE id = 2"))
    with engine.connect() as conn:
        names = conn.scalars(select(channel.c.name).order_by(channel.c.id)).all()
    engine.dispose()
    assert names == ["Örtlich", "Öl\N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        NOON.replace(microsecond=0),
        NOON.replace(microsecond=999_000),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        # This hour does not exist in Berlin's time, so a database that thinks in local time moves
        # it.
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_moment_comes_back_as_the_same_aware_utc_moment(engine: Engine, moment: datetime) -> None:
    """The suite's MariaDB lives in +05:30, as some do; the schema lives in UTC."""
    add_reader(engine, 1, moment)

    with engine.connect() as conn:
        found = conn.execute(select(reader.c.first_seen_at)).scalar_one()

    assert found == moment
    assert found.tzinfo is UTC


def test_a_moments_microseconds_are_cut_never_rounded(engine: Engine) -> None:
    """Trap: DATETIME(3) rounds, so a moment would lie after itself, and "is it due" would be false
    at its time."""
    exact = NOON.replace(microsecond=999_999)
    add_reader(engine, 1, exact)

    with engine.connect() as conn:
        (found,) = conn.execute(
            select(reader.c.first_seen_at).where(reader.c.first_seen_at <= exact)
        ).scalars()

    assert found == exact.replace(microsecond=999_000)


def test_moments_sort_by_time(engine: Engine) -> None:
    """SQLite compares text: a moment on the full second must not sort behind one with
    milliseconds."""
    moments = [NOON.replace(microsecond=us) for us in (0, 1_000, 10_000, 500_000, 999_000)]
    moments = [datetime(1999, 12, 31, tzinfo=UTC), *moments, NOON + timedelta(days=1)]
    for number, moment in enumerate(reversed(moments), start=1):
        add_reader(engine, number, moment)

    with engine.connect() as conn:
        assert (
            conn.execute(select(reader.c.first_seen_at).order_by(reader.c.first_seen_at))
            .scalars()
            .all()
            == moments
        )


def test_a_naive_datetime_is_refused(engine: Engine) -> None:
    """It does not say which moment it means."""
    with pytest.raises(SQLAlchemyError, match="time zone"):
        add_reader(engine, 1, NOON.replace(tzinfo=None))


def test_the_databases_clock_is_utc_and_compares_with_moments(engine: Engine) -> None:
    """ "Is it due" is asked of the clock that every process shares."""
    before = datetime.now(UTC) - timedelta(minutes=10)
    with engine.connect() as conn:
        now = conn.execute(select(database_now(conn))).scalar_one()
        after = datetime.now(UTC) + timedelta(minutes=10)
        assert before < now < after
        past, future = literal(before, Moment), literal(after, Moment)
        due = select(past < database_now(conn), future < database_now(conn))
        assert conn.execute(due).one() == (True, False)


def test_text_in_any_script_comes_back(engine: Engine) -> None:
    """Trap: a connection or table in MySQL's three-byte `utf8` loses emoji; the suite's server
    defaults to Latin-1."""
    name = "Новости 新闻 أخبار 🗞️👩‍👩‍👧 ẞ"
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(slug="world", name=name))

    with engine.connect() as conn:
        assert conn.execute(select(channel.c.name)).scalar_one() == name


def test_a_transaction_that_raises_leaves_nothing(engine: Engine) -> None:
    """Committed at the end of the block, or not at all."""

    def insert_and_fail() -> None:
        with transaction(engine) as conn:
            conn.execute(insert(channel).values(slug="world", name="World"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()

    with engine.connect() as conn:
        assert conn.execute(select(channel)).all() == []


def test_a_reader_sees_what_was_committed_after_it_last_looked(engine: Engine) -> None:
    """Trap: a pooled connection that keeps its snapshot open goes on reading UNPAID after another
    connection's PAID."""
    with engine.connect() as conn:
        assert conn.execute(select(channel)).all() == []
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(slug="world", name="World"))

    with engine.connect() as conn:
        assert len(conn.execute(select(channel)).all()) == 1


def test_writers_wait_for_each_other_and_lose_no_update(engine: Engine) -> None:
    """Trap: on SQLite a transaction that begins as a reader fails when it wants to write after
    another writer."""
    add_reader(engine, 1, NOON)

    def add_a_second_ten_times() -> None:
        for _ in range(10):
            with transaction(engine) as conn:
                row = select(reader.c.last_seen_at).where(reader.c.id == 1).with_for_update()
                seen_at = conn.execute(row).scalar_one()
                conn.execute(update(reader).values(last_seen_at=seen_at + timedelta(seconds=1)))

    threads = [threading.Thread(target=add_a_second_ten_times) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with engine.connect() as conn:
        assert conn.execute(select(reader.c.last_seen_at)).scalar_one() == NOON + timedelta(
            seconds=40
        )


def test_others_go_on_while_one_waits_for_the_writer_of_sqlite(
    make_settings: MakeSettings, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In SQLite's own wait no coroutine of the process would run, and none could end it."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    with engine.connect() as conn:
        conn.execute(select(1))
    holder = sqlite3.connect(str(make_url(sqlite_url).database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def go_on(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 3:
            holder.execute("ROLLBACK")

    monkeypatch.setattr(time, "sleep", go_on)
    with transaction(engine) as conn:
        assert conn.scalar(select(1)) == 1

    assert pauses == [0.001, 0.002, 0.004]
    holder.close()
    engine.dispose()


def test_a_machine_that_stood_still_gave_the_writer_of_sqlite_no_time(
    make_settings: MakeSettings, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: who waits wakes first, finds its seconds over, and gives up a lock that the other one
    has had for a moment."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    with engine.connect() as conn:
        conn.execute(select(1))
    holder = sqlite3.connect(str(make_url(sqlite_url).database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    stood_still_s = [0.0]
    monotonic = time.monotonic

    def stand_still(_pause_s: float) -> None:
        if stood_still_s[0]:
            holder.execute("ROLLBACK")
        stood_still_s[0] = 3600.0

    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + stood_still_s[0])
    monkeypatch.setattr(time, "sleep", stand_still)
    with transaction(engine) as conn:
        assert conn.scalar(select(1)) == 1

    holder.close()
    engine.dispose()


def test_the_wait_for_a_row_that_somebody_holds_is_bounded(
    database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: InnoDB waits 50 s for a lock by default, longer than any reader."""
    monkeypatch.setattr(engine_module, "LOCK_WAIT_S", 1)
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_MS", 500)
    engine = make_engine(make_settings(database_url=database_url).database)
    add_reader(engine, 1, NOON)
    with transaction(engine) as holder:
        holder.execute(update(reader).values(last_seen_at=NOON))

        with (
            took_an_end(),
            pytest.raises(OperationalError, match=r"(?i)lock"),
            transaction(engine) as waiter,
        ):
            waiter.execute(update(reader).values(last_seen_at=NOON))

    engine.dispose()


def test_the_wait_for_a_free_connection_is_bounded(
    database_url: str, make_settings: MakeSettings
) -> None:
    """More work than connections must be refused soon, not queued without end."""
    engine = make_engine(
        make_settings(
            database_url=database_url, database_pool_size=2, database_pool_timeout_s=0.2
        ).database
    )
    with engine.connect(), engine.connect(), took_an_end(), pytest.raises(PoolTimeoutError):
        engine.connect()

    ping(engine)
    engine.dispose()


def test_a_connection_that_was_killed_while_idle_is_replaced_unnoticed(
    mariadb: MariaDBServer, mariadb_url: str, make_settings: MakeSettings
) -> None:
    """Operators, proxies and `wait_timeout` close idle connections; the next reader must not pay
    for it."""
    engine = make_engine(make_settings(database_url=mariadb_url, database_pool_size=1).database)
    with engine.connect() as conn:
        thread = conn.execute(text("SELECT CONNECTION_ID()")).scalar_one()

    mariadb.execute(f"KILL {thread}")

    with engine.connect() as conn:
        assert conn.execute(text("SELECT CONNECTION_ID()")).scalar_one() != thread
    engine.dispose()


def test_a_connection_that_was_killed_in_a_transaction_fails_it_and_only_it(
    mariadb: MariaDBServer, mariadb_url: str, make_settings: MakeSettings
) -> None:
    """Its statements are gone with it, so going on with a new connection would commit half."""
    engine = make_engine(make_settings(database_url=mariadb_url, database_pool_size=1).database)

    def lose_the_connection_half_way() -> None:
        with transaction(engine) as conn:
            conn.execute(insert(channel).values(slug="world", name="World"))
            thread = conn.execute(text("SELECT CONNECTION_ID()")).scalar_one()
            mariadb.execute(f"KILL {thread}")
            conn.execute(insert(channel).values(slug="local", name="Local"))

    with pytest.raises(OperationalError):
        lose_the_connection_half_way()
    with engine.connect() as conn:
        assert conn.execute(select(channel)).all() == []
    engine.dispose()


def test_a_server_that_froze_or_died_is_waited_for_with_an_end_and_used_again(
    make_settings: MakeSettings,
) -> None:
    """Trap: PyMySQL waits for ever for an answer by default, and a connection that timed out must
    not be reused."""
    with start_mariadb() as server:
        engine = make_engine(
            make_settings(
                database_url=server.new_database(),
                database_connect_timeout_s=1,
                database_read_timeout_s=1,
                database_pool_timeout_s=1,
            ).database
        )
        wait_until(lambda: answers(engine), 20, "the first answer")

        with server.frozen():
            for _ in range(2):  # on the connection that was there, and on a new one
                with took_an_end(), pytest.raises(OperationalError):
                    ping(engine)
        wait_until(lambda: answers(engine), 20, "an answer once it goes on")

        server.kill()
        with took_an_end(), pytest.raises(OperationalError):
            ping(engine)
        server.restart()
        wait_until(lambda: answers(engine), 20, "an answer once it is there again")
        engine.dispose()


def test_each_statement_carries_the_request_that_sent_it(
    mariadb: MariaDBServer, mariadb_url: str, make_settings: MakeSettings
) -> None:
    """An operator who finds a slow statement in the server's list finds the request in the logs."""
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    own_text = text("SELECT info FROM information_schema.processlist WHERE id = CONNECTION_ID()")
    with engine.connect() as conn:
        with structlog.contextvars.bound_contextvars(request_id="feed-1_a"):
            named = conn.execute(own_text).scalar_one()
        unnamed = conn.execute(own_text).scalar_one()

    assert named.endswith("/* request_id=feed-1_a */")
    assert "request_id" not in unnamed
    engine.dispose()


def test_many_rows_are_one_insert_also_within_a_deadline_and_a_request(
    make_settings: MakeSettings, mariadb_url: str
) -> None:
    """Trap: PyMySQL sends a statement for each row where anything stands around the INSERT."""
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    rows = [{"id": id_, "first_seen_at": NOON, "last_seen_at": NOON} for id_ in range(1, 51)]
    asked = text("SHOW SESSION STATUS LIKE 'Com_insert'")
    with (
        structlog.contextvars.bound_contextvars(request_id="many"),
        deadline_scope(Deadline.after_ms(60_000)),
        transaction(engine) as conn,
    ):
        before = int(conn.execute(asked).one()[1])
        conn.execute(insert(reader), rows)
        after = int(conn.execute(asked).one()[1])
        stored = conn.execute(select(reader.c.id)).all()
    engine.dispose()

    assert after - before == 1
    assert len(stored) == 50


def test_the_named_statement_runs_on_both_databases_with_parameters(engine: Engine) -> None:
    """The comment is added after the parameters are set in their places."""
    with structlog.contextvars.bound_contextvars(request_id="feed-1"), transaction(engine) as conn:
        conn.execute(
            insert(channel),
            [{"slug": "world", "name": "100 % true"}, {"slug": "local", "name": "%(name)s :name"}],
        )
        names = (
            conn.execute(select(channel.c.name).where(channel.c.slug.in_(["world", "local"])))
            .scalars()
            .all()
        )

    assert sorted(names) == ["%(name)s :name", "100 % true"]


def test_nothing_connects_before_the_first_use(
    mariadb: MariaDBServer, mariadb_url: str, make_settings: MakeSettings
) -> None:
    """Trap: a connection made before a fork is shared by both processes, and each reads the other's
    answers."""
    name = mariadb_url.rpartition("/")[2]
    connected = f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{name}'"
    engine = make_engine(make_settings(database_url=mariadb_url).database)

    assert mariadb.execute(connected) == ((0,),)
    ping(engine)
    assert mariadb.execute(connected) == ((1,),)

    engine.dispose()
    wait_until(lambda: mariadb.execute(connected) == ((0,),), 20, "the connection to be closed")


def test_a_pool_of_connections_says_nothing_of_itself(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Every start opens and leaves a pool; two lines about each would hide what matters."""
    caplog.set_level(logging.INFO)
    engine = make_engine(make_settings().database)
    with engine.connect() as conn:
        conn.execute(select(literal(1)))
    engine.dispose()
    assert [record.getMessage() for record in caplog.records] == []


def test_a_server_that_hangs_is_waited_for_to_the_deadline(make_settings: MakeSettings) -> None:
    """It answers no time-out of its own, and would hold each thread for READ_TIMEOUT_S."""
    with start_mariadb() as server:
        url = server.new_database()
        engine = make_engine(make_settings(database_url=url, database_read_timeout_s=600).database)
        ping(engine)
        with server.frozen():
            for _ in range(2):  # on a connection that was there, and on a new one
                with deadline_scope(Deadline.after_ms(300)), pytest.raises(SQLAlchemyError):
                    ping(engine)
        ping(engine)
        engine.dispose()
