"""Delayed jobs on SQLite and MariaDB: a promise is kept once, though anything may fail in
between."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis import Redis
from sqlalchemy import Connection, Engine, insert, select, text, update

from jobs.delayed.batches import BATCH_ROWS, Batches
from jobs.delayed.clock_guard import ClockGuard, read_steady_s
from jobs.handlers import expire_orders
from jobs.static.runs import read_now
from tests.faults.backlog import insert_jobs, insert_orders
from tests.lab.handlers import HANDLERS, UNCACHED
from tests.lab.servers import NO_RETRY
from tidings.news import publishing
from tidings.news.tables import article, channel
from tidings.shop import orders, stock
from tidings.shop.orders import ORDER_TIMEOUT
from tidings.shop.tables import orders as order_table
from tidings.store import delayed, delayed_rows
from tidings.store.delayed import DelayedJob
from tidings.store.delayed_due import MOST_ATTEMPTS
from tidings.store.delayed_tables import delayed_job, paused_kind
from tidings.store.engine import database_now, transaction


def schedule(
    engine: Engine, kind: str, *refs: object, after_s: float = -1, payload: Any = None
) -> None:
    with transaction(engine) as conn:
        for ref in refs:
            delayed.schedule(conn, kind, ref=ref, after_s=after_s, payload=payload)


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as conn:
        return list(conn.execute(select(delayed_job).order_by(delayed_job.c.id)))


def clock_of(engine: Engine) -> datetime:
    with engine.connect() as conn:
        return read_now(conn)


def set_clock(conn: Connection, moment: datetime) -> None:
    """What the database's clock says from now on, to this connection alone."""
    # Not for the one who takes it from the pool next.
    conn.detach()
    if conn.dialect.name == "sqlite":
        connection: Any = conn.connection.dbapi_connection
        connection.create_function("strftime", -1, lambda *_: f"{moment:%Y-%m-%d %H:%M:%S}.000")
    else:
        conn.execute(text("SET timestamp = :at"), {"at": moment.timestamp()})


class Recorder:
    """A handler that remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[DelayedJob]] = []

    def __call__(
        self, _conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        self.batches.append(list(due))
        return {}

    @property
    def refs(self) -> list[str]:
        return [job.ref for batch in self.batches for job in batch]


def test_a_promise_is_rolled_back_with_what_made_it(engine: Engine) -> None:
    def fail() -> None:
        with transaction(engine) as conn:
            delayed.schedule(conn, "note", ref=1, after_s=1)
            raise RuntimeError("the order failed")

    with pytest.raises(RuntimeError):
        fail()
    assert rows(engine) == []


def test_after_s_counts_on_the_databases_clock(engine: Engine) -> None:
    before = clock_of(engine)
    schedule(engine, "note", 1, after_s=90.5)
    promised_at = rows(engine)[0].run_at - timedelta(seconds=90.5)
    assert before <= promised_at <= clock_of(engine)


def test_a_second_promise_about_the_same_thing_is_refused_and_the_transaction_goes_on(
    engine: Engine,
) -> None:
    with transaction(engine) as conn:
        delayed.schedule(conn, "note", ref=1, after_s=1)
        with pytest.raises(delayed.AlreadyScheduledError):
            delayed.schedule(conn, "note", ref=1, after_s=5)
        delayed.schedule(conn, "note", ref="A", after_s=1)
        delayed.schedule(conn, "note", ref="a", after_s=1)
    assert [row.ref for row in rows(engine)] == ["1", "A", "a"]


def test_promises_can_be_moved_and_taken_back(engine: Engine) -> None:
    schedule(engine, "note", 1)
    hour = datetime(2030, 1, 1, 18, 0, 0, 123000, tzinfo=UTC)
    with transaction(engine) as conn:
        assert delayed.reschedule_at(conn, "note", ref=1, run_at=hour)
        assert not delayed.reschedule_at(conn, "note", ref=2, run_at=hour)
    assert rows(engine)[0].run_at == hour
    with transaction(engine) as conn:
        assert delayed.cancel(conn, "note", ref=1)
        assert not delayed.cancel(conn, "note", ref=1)


def test_due_rows_run_in_order_and_later_ones_wait(engine: Engine, make_batches: Any) -> None:
    handler = Recorder()
    schedule(engine, "note", "second", after_s=-1)
    schedule(engine, "note", "first", after_s=-2, payload={"a": ["ü", 1]})
    schedule(engine, "note", "later", after_s=60)
    schedule(engine, "unknown", "untouched")
    assert make_batches({"note": handler}).drain("note") == 2
    assert handler.refs == ["first", "second"]
    assert handler.batches[0][0].payload == {"a": ["ü", 1]}
    assert [row.ref for row in rows(engine)] == ["later", "untouched"]


def test_a_backlog_is_drained_batch_by_batch(engine: Engine, make_batches: Any) -> None:
    handler = Recorder()
    schedule(engine, "note", *range(2 * BATCH_ROWS + 5))
    assert make_batches({"note": handler}).drain("note") == 2 * BATCH_ROWS + 5
    assert [len(batch) for batch in handler.batches] == [BATCH_ROWS, BATCH_ROWS, 5]
    assert rows(engine) == []


def test_what_a_handler_puts_off_stays(engine: Engine, make_batches: Any) -> None:
    hour = datetime(2030, 1, 1, tzinfo=UTC)
    schedule(engine, "note", 1, 2)
    make_batches({"note": lambda _conn, due, _now: {due[0].id: hour}}).drain("note")
    (row,) = rows(engine)
    assert (row.ref, row.run_at, row.attempts) == ("1", hour, 0)


def test_one_poisoned_row_delays_nobody_else(engine: Engine, make_batches: Any) -> None:
    done: list[str] = []

    def handler(
        conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        if any(job.ref == "13" for job in due):
            raise ValueError("cannot do 13")
        conn.execute(
            insert(paused_kind).values(
                [{"kind": f"k{job.ref}", "paused_at": job.run_at} for job in due]
            )
        )
        done.extend(job.ref for job in due)
        return {}

    schedule(engine, "note", *range(30))
    before = clock_of(engine)
    make_batches({"note": handler}).drain("note")
    assert sorted(done, key=int) == [str(n) for n in range(30) if n != 13]
    (row,) = rows(engine)
    assert (row.ref, row.state, row.attempts) == ("13", "waiting", 1)
    assert row.last_error == "ValueError: cannot do 13"
    assert row.run_at - before > timedelta(seconds=0.5)
    assert row.run_at - clock_of(engine) <= timedelta(seconds=2)


def test_after_five_failures_a_row_is_dead_and_no_longer_tried(
    engine: Engine, make_batches: Any
) -> None:
    tried = []

    def handler(
        _conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        tried.append(due[0].attempts)
        raise ValueError("never")

    schedule(engine, "note", 1)
    for _ in range(MOST_ATTEMPTS + 2):
        make_batches({"note": handler}).drain("note")
        with transaction(engine) as conn:
            conn.execute(update(delayed_job).values(run_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert sorted(set(tried)) == [0, 1, 2, 3, 4]
    assert (rows(engine)[0].state, rows(engine)[0].attempts) == ("dead", MOST_ATTEMPTS)


def test_a_handler_that_broke_its_statement_loses_only_its_own_row(
    engine: Engine, make_batches: Any
) -> None:
    def handler(
        conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        if any(job.ref == "bad" for job in due):
            conn.execute(text("SELECT no_such_column FROM delayed_job"))
        return {}

    schedule(engine, "note", "good", "bad")
    make_batches({"note": handler}).drain("note")
    (row,) = rows(engine)
    assert row.ref == "bad"
    assert "no_such_column" in row.last_error


def test_nothing_runs_twice_for_four_daemons(engine: Engine) -> None:
    """A batch may be begun again after a deadlock; what counts is what was committed, and that is
    once each."""

    def handle(
        conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        conn.execute(insert(channel), [{"slug": job.ref, "name": "done"} for job in due])
        return {}

    schedule(engine, "note", *range(900))

    def drain(_: int) -> int:
        return Batches(engine, {"note": handle}, ClockGuard(), threading.Event()).drain("note")

    with ThreadPoolExecutor(4) as pool:
        while any(pool.map(drain, range(4))):
            pass
    with engine.connect() as conn:
        done = sorted(int(slug) for slug in conn.scalars(select(channel.c.slug)))
    assert done == list(range(900))
    assert rows(engine) == []


def test_a_paused_kind_is_held_rows_yet_to_come_included(engine: Engine, make_batches: Any) -> None:
    handler = Recorder()
    schedule(engine, "note", 1)
    with transaction(engine) as conn:
        conn.execute(insert(paused_kind).values(kind="note", paused_at=database_now(conn)))
    schedule(engine, "note", 2)
    assert make_batches({"note": handler}).drain("note") == 0
    with transaction(engine) as conn:
        conn.execute(paused_kind.delete())
    assert make_batches({"note": handler}).drain("note") == 2


def test_a_paused_kind_without_jobs_is_listed(engine: Engine) -> None:
    """A pause that nothing shows is remembered only when its jobs are missed."""
    with transaction(engine) as conn:
        delayed_rows.pause_kind(conn, "note")
        assert [(found.kind, found.is_held) for found in delayed_rows.summarise(conn)] == [
            ("note", True)
        ]
        delayed_rows.resume_kind(conn, "note")
        assert delayed_rows.summarise(conn) == []


def test_nothing_runs_while_the_databases_clock_is_in_doubt(engine: Engine) -> None:
    passed_s = [0.0]
    guard = ClockGuard(lambda: read_steady_s() + passed_s[0])
    asked_at_s = guard.read_steady_s()
    guard.accepts(clock_of(engine) - timedelta(hours=1), asked_at_s)
    handler = Recorder()
    schedule(engine, "note", 1)
    assert Batches(engine, {"note": handler}, guard, threading.Event()).drain("note") == 0
    assert guard.is_held
    passed_s[0] = 3600.0
    assert Batches(engine, {"note": handler}, guard, threading.Event()).drain("note") == 1


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_that_jumps_in_a_batch_changes_nothing_for_its_orders(
    shop: Any, make_batches: Any, jump: timedelta
) -> None:
    """Between the claim and its handler, where no guard looks again: an order that was only to be
    warned of is not cancelled, and one that is over is not warned of."""
    over = shop.order((1, 2), timeout_s=0)
    early = shop.order((1, 3), timeout_s=600)
    with transaction(shop.engine) as conn:
        conn.execute(update(delayed_job).values(run_at=over.created_at - timedelta(seconds=1)))

    def expire_after_the_jump(
        conn: Connection, due: Sequence[DelayedJob], now: datetime
    ) -> Mapping[int, datetime]:
        set_clock(conn, now + jump)
        return expire_orders(conn, due, now)

    assert make_batches({ORDER_TIMEOUT: expire_after_the_jump}).drain(ORDER_TIMEOUT) == 2
    assert [shop.read(order.order_id).status for order in (over, early)] == ["cancelled", "unpaid"]
    assert [(job.ref, job.run_at) for job in shop.jobs()] == [
        (str(early.order_id), early.expires_at)
    ]
    ended = select(order_table.c.ended_at).where(order_table.c.id == over.order_id)
    with shop.engine.connect() as conn:
        ended_at = conn.scalars(ended).one()
        assert over.expires_at <= ended_at <= read_now(conn)


def test_a_batch_that_is_asked_to_stop_begins_nothing(engine: Engine) -> None:
    stopping = threading.Event()
    stopping.set()
    schedule(engine, "note", 1)
    assert Batches(engine, {"note": Recorder()}, ClockGuard(), stopping).drain("note") == 0
    assert len(rows(engine)) == 1


def test_unpaid_orders_expire_and_paid_ones_do_not(shop: Any, make_batches: Any) -> None:
    late = shop.order((1, 2), timeout_s=0)
    paid = shop.order((1, 3), timeout_s=0)
    early = shop.order((1, 4), timeout_s=600)
    with transaction(shop.engine) as conn:
        orders.advance(conn, paid.order_id, orders.Event.PAY)
        # A job may be early: a clock was corrected, or somebody ran it by hand.
        conn.execute(update(delayed_job).values(run_at=late.created_at - timedelta(seconds=1)))
    assert make_batches(HANDLERS).drain("order_timeout") == 3
    assert [shop.read(order.order_id).status for order in (late, paid, early)] == [
        "cancelled",
        "paid",
        "unpaid",
    ]
    assert [(job.ref, job.run_at) for job in shop.jobs()] == [
        (str(early.order_id), early.expires_at)
    ]
    assert shop.quantities()[1] == 100 - 7


def test_an_article_appears_at_its_hour_and_not_before(engine: Engine, make_batches: Any) -> None:
    now = datetime.now(UTC)
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(id=1, slug="c", name="C"))
        plain = {
            "channel_id": 1,
            "title": "t",
            "summary": "s",
            "body": "b",
            "published_at": now,
            "updated_at": now,
        }
        for n in (1, 2, 3):
            conn.execute(
                insert(article).values(id=n, source_id=str(n), status="published", **plain)
            )
        publishing.schedule_publication(conn, 1, now - timedelta(seconds=1), UNCACHED)
        publishing.schedule_publication(conn, 2, now, UNCACHED)
        publishing.schedule_publication(conn, 2, now + timedelta(hours=1), UNCACHED)
        publishing.schedule_publication(conn, 3, now - timedelta(seconds=1), UNCACHED)
        conn.execute(update(article).where(article.c.id == 3).values(status="taken_down"))
    make_batches(HANDLERS).drain("publish_article")
    with engine.connect() as conn:
        states = {
            row.id: row.status for row in conn.execute(select(article.c.id, article.c.status))
        }
    assert states == {1: "published", 2: "scheduled", 3: "taken_down"}
    assert [row.ref for row in rows(engine)] == ["2"]


def test_a_hint_is_sent_only_for_what_is_due_before_the_next_look(redis_client: Redis) -> None:
    listener = redis_client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis-py's
    listener.subscribe(delayed.HINT_CHANNEL)
    listener.get_message(timeout=30)
    delayed.hint(redis_client, after_s=1800)
    delayed.hint(redis_client, after_s=0.2)
    assert listener.get_message(timeout=30) is not None
    assert listener.get_message(timeout=0.05) is None
    listener.close()


def test_a_lost_hint_is_nobodys_problem() -> None:
    delayed.hint(Redis(port=1, socket_connect_timeout=0.2, retry=NO_RETRY))


@pytest.mark.parametrize("number", [30, 900])
def test_batches_of_several_daemons_never_wait_for_each_other_in_a_circle(
    shop: Any, number: int, make_batches: Any
) -> None:
    """Of a small table MySQL reads every row for a DELETE by ids, and waits for rows that other
    batches have locked."""
    deadlocks = (
        REGISTRY.get_sample_value("tidings_jobs_passing_errors_total", {"cause": "deadlock"}) or 0
    )
    placed = [shop.order((n % 5 + 1, 1), (5 - n % 5, 1), timeout_s=0) for n in range(30)]
    with transaction(shop.engine) as conn:
        now = read_now(conn)
        for sku_id in range(1, 6):
            stock.receive(conn, sku_id, number, delivery=50 + sku_id)
        ids = insert_orders(conn, [now] * number, first_id=10_000, skus=5)
        insert_jobs(conn, ids, [now] * number)
    batches = [make_batches(HANDLERS) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        while any(pool.map(lambda one: one.drain("order_timeout"), batches)):
            pass
    assert all(shop.read(order.order_id).status == "cancelled" for order in placed)
    assert shop.ledger() == shop.quantities()
    assert (
        REGISTRY.get_sample_value("tidings_jobs_passing_errors_total", {"cause": "deadlock"}) or 0
    ) == deadlocks
