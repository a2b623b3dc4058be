"""Readers and operators are told once of what jobs did, though daemons die and several run at once;
on SQLite and MariaDB."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, insert, select, update

from jobs.delayed.batches import Batches
from jobs.errands import Errand
from jobs.static.context import Context, JobFailedError, Routine, Run
from jobs.static.runs import read_now
from jobs.work import sources
from jobs.work.notices import FEWEST, tell_fresh
from tests.faults.backlog import insert_jobs, insert_orders
from tests.integration.jobs.conftest import MakeBatches
from tests.lab.servers import spawn, wait_until
from tests.lab.shelf import Shop
from tidings.news.tables import article, channel
from tidings.reading.tables import exposure, reader
from tidings.shop import orders, stock
from tidings.shop.orders import Event
from tidings.shop.tables import orders as order_table
from tidings.sources.tables import source
from tidings.store import delayed, delayed_due
from tidings.store.delayed_due import Backoff
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction
from tidings.talk.notices import OPERATORS, NoticeType, find_notices, switch_off
from tidings.talk.tables import inbox, notice, talk_outbox

REPOSITORY = Path(__file__).parents[3]
READER = 7
PATIENCE_S = 60
TIMEOUT = orders.ORDER_TIMEOUT


def told(engine: Engine, audience: int = READER) -> list[tuple[str, str, int]]:
    """Type, subject and times of an audience's notices, the oldest first."""
    with engine.connect() as conn:
        found = find_notices(conn, audience, audience=audience, limit=100)
    shown = [listed.notice for listed in found[::-1]]
    return [(one.type, one.subject, one.times) for one in shown]


def make_due(engine: Engine) -> None:
    """As if the moment of each delayed job had come."""
    with transaction(engine) as conn:
        conn.execute(update(delayed_job).values(run_at=database_now(conn)))


def make_late(engine: Engine, order_id: int) -> None:
    """As if the order's time were over, and its job due."""
    with transaction(engine) as conn:
        is_it = order_table.c.id == order_id
        conn.execute(update(order_table).where(is_it).values(expires_at=database_now(conn)))
    make_due(engine)


def test_a_reader_is_warned_five_minutes_before_an_order_expires_and_told_when_it_did(
    shop: Shop, make_batches: MakeBatches
) -> None:
    order = shop.order((1, 2), timeout_s=1800)
    (job,) = shop.jobs()
    assert job.run_at == order.expires_at - timedelta(minutes=5)

    make_due(shop.engine)
    make_batches().drain(TIMEOUT)
    assert told(shop.engine) == [("order_expiring", f"order:{order.order_id}", 1)]
    (job,) = shop.jobs()
    assert job.run_at == order.expires_at, "to the millisecond"
    assert shop.read(order.order_id).status == "unpaid"

    make_late(shop.engine, order.order_id)
    make_batches().drain(TIMEOUT)
    assert told(shop.engine)[1:] == [("order_cancelled", f"order:{order.order_id}", 1)]
    assert shop.jobs() == []


def test_an_order_with_little_time_is_warned_of_at_half_of_it(shop: Shop) -> None:
    order = shop.order(timeout_s=60)
    (job,) = shop.jobs()

    assert job.run_at == order.expires_at - timedelta(seconds=30)


def test_a_warning_is_given_once_however_often_the_order_is_looked_at(
    shop: Shop, make_batches: MakeBatches
) -> None:
    shop.order()
    for _ in range(3):
        make_due(shop.engine)
        make_batches().drain(TIMEOUT)

    assert [type_ for type_, _, _ in told(shop.engine)] == ["order_expiring"]


def test_a_paid_order_is_warned_of_by_no_job(shop: Shop, make_batches: MakeBatches) -> None:
    order = shop.order()
    with transaction(shop.engine) as conn:
        assert orders.advance(conn, order.order_id, Event.PAY)
    make_due(shop.engine)
    make_batches().drain(TIMEOUT)

    assert told(shop.engine) == [("order_paid", f"order:{order.order_id}", 1)]
    with shop.engine.connect() as conn:
        (listed,) = find_notices(conn, READER, audience=READER)
    assert listed.notice.data == {
        "order_id": order.order_id,
        "amount_cents": 100,
        "currency": "EUR",
    }


def test_an_order_that_its_reader_cancels_is_told_of_once(shop: Shop) -> None:
    order = shop.order()
    for _ in range(2):
        orders.cancel(shop.engine, READER, order.order_id)

    with shop.engine.connect() as conn:
        (listed,) = find_notices(conn, READER, audience=READER)
    assert listed.notice.data == {"order_id": order.order_id, "why": "by_reader"}


def test_a_type_that_is_switched_off_is_not_written_and_the_order_expires_all_the_same(
    shop: Shop, make_batches: MakeBatches
) -> None:
    with transaction(shop.engine) as conn:
        switch_off(conn, READER, [NoticeType.ORDER_CANCELLED])
    order = shop.order(timeout_s=0)
    make_batches().drain(TIMEOUT)

    assert shop.read(order.order_id).status == "cancelled"
    assert told(shop.engine) == []


def test_what_is_rolled_back_is_not_told(shop: Shop) -> None:
    order = shop.order(timeout_s=0)

    def die() -> None:
        with transaction(shop.engine) as conn:
            orders.expire(conn, [order.order_id], read_now(conn))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert told(shop.engine) == []
    with shop.engine.connect() as conn:
        assert conn.execute(select(talk_outbox)).all() == []


def test_a_daemon_that_is_killed_half_way_and_another_tell_each_order_once(
    shop: Shop,
    redis_url: str,
    environment: Callable[..., dict[str, str]],
    database_url: str,
    tmp_path: Path,
) -> None:
    """It has cancelled orders in its transaction, and waits for an inbox that the test holds, when
    it is killed; the next daemon finds them as they were."""
    if shop.engine.dialect.name == "sqlite":
        # One writer: the daemon waits for the whole database, and dies at its beginning.
        held = select(inbox.c.audience)
    else:
        held = select(inbox.c.audience).with_for_update()
    readers = range(100, 150)
    placed = [shop.order(reader_id=reader_id, timeout_s=0).order_id for reader_id in readers]
    with transaction(shop.engine) as conn:
        conn.execute(insert(inbox).values(audience=149, last_seq=0))
    env = environment(database_url=database_url, redis_url=redis_url)

    def start(name: str) -> Any:
        with (tmp_path / name).open("ab") as log:
            return spawn([sys.executable, "-m", "jobs"], env=env, cwd=REPOSITORY, stderr=log)

    with transaction(shop.engine) as conn:
        conn.execute(held)
        first = start("first.log")
        wait_until(lambda: _waits_for_a_lock(shop.engine, first), PATIENCE_S, "the daemon to wait")
        first.send_signal(signal.SIGKILL)
        first.wait()
    second, third = start("second.log"), start("third.log")

    def is_over() -> bool:
        with shop.engine.connect() as conn:
            status = select(func.count()).where(order_table.c.status == "cancelled")
            return conn.scalar(status) == len(placed)

    wait_until(is_over, PATIENCE_S, "all orders to expire")
    for running in (second, third):
        running.send_signal(signal.SIGTERM)
        running.wait()
    for reader_id, order_id in zip(readers, placed, strict=True):
        assert told(shop.engine, reader_id) == [("order_cancelled", f"order:{order_id}", 1)]


def _waits_for_a_lock(engine: Engine, process: Any) -> bool:
    if process.poll() is not None:
        return True
    if engine.dialect.name == "sqlite":
        return True
    # InnoDB makes this table anew only for one who has not read it for a tenth of a second.
    time.sleep(0.2)
    with engine.connect() as conn:
        waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
        return bool(conn.exec_driver_sql(waiting).scalar())


def test_daemons_at_once_tell_many_readers_of_many_orders_without_a_deadlock(
    shop: Shop, make_batches: MakeBatches
) -> None:
    """Each reader has orders in every batch, so that batches want the same inboxes."""
    engine = shop.engine
    with transaction(engine) as conn:
        moments = [read_now(conn)] * 2000
        for n in range(1, 6):
            stock.receive(conn, n, 400, delivery=100 + n)
        ids = insert_orders(conn, moments, first_id=1, skus=5)
        insert_jobs(conn, ids, moments)
        conn.execute(update(order_table).values(reader_id=100 + order_table.c.id % 37))
    failures: list[Any] = []
    event.listen(engine, "handle_error", failures.append)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make_batches().drain(TIMEOUT), range(4)))
    make_batches().drain(TIMEOUT)

    assert [context for context in failures if "Deadlock" in str(context)] == []
    with engine.connect() as conn:
        rows = conn.execute(select(notice.c.audience, notice.c.seq, notice.c.subject)).all()
        lasts = {row.audience: row.last_seq for row in conn.execute(select(inbox))}
    assert sorted(row.subject for row in rows) == sorted(f"order:{id_}" for id_ in ids)
    for audience, last_seq in lasts.items():
        seqs = [row.seq for row in rows if row.audience == audience]
        assert sorted(seqs) == list(range(1, last_seq + 1))


def test_a_batch_costs_as_many_statements_for_five_hundred_orders_as_for_two(
    shop: Shop, make_batches: MakeBatches
) -> None:
    def count(number: int, *, first_id: int) -> int:
        with transaction(shop.engine) as conn:
            moments = [read_now(conn)] * number
            insert_jobs(conn, insert_orders(conn, moments, first_id=first_id, skus=5), moments)
            is_new = order_table.c.id >= first_id
            conn.execute(update(order_table).where(is_new).values(reader_id=100 + order_table.c.id))
        statements: list[str] = []

        def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        event.listen(shop.engine, "before_cursor_execute", note)
        batches = make_batches()
        assert batches._run_batch(TIMEOUT) == number
        event.remove(shop.engine, "before_cursor_execute", note)
        return len(statements)

    assert count(2, first_id=1) == count(500, first_id=1000)


class TestOperators:
    """What is given up is told to operators, grouped."""

    def test_dead_jobs_of_a_kind_are_one_notice_that_counts(
        self, shop: Shop, make_batches: MakeBatches
    ) -> None:
        def fail(*_: object) -> dict[int, Any]:
            raise RuntimeError("no row of this kind can be done")

        with transaction(shop.engine) as conn:
            for ref in range(3):
                delayed.schedule(conn, "note", ref=ref, after_s=-1)
        batches = make_batches({"note": fail})
        for _ in range(delayed_due.MOST_ATTEMPTS):
            make_due(shop.engine)
            batches.drain("note")

        assert told(shop.engine, OPERATORS) == [("job_dead", "job:note", 3)]

    def test_a_job_that_is_put_off_is_not_told(self, shop: Shop, make_batches: MakeBatches) -> None:
        def fail(*_: object) -> dict[int, Any]:
            raise RuntimeError("not now")

        with transaction(shop.engine) as conn:
            delayed.schedule(conn, "note", ref=1, after_s=-1)
        make_batches({"note": fail}).drain("note")

        assert told(shop.engine, OPERATORS) == []

    def test_an_errand_that_is_given_up_is_told_in_the_same_transaction(
        self, shop: Shop, make_batches: MakeBatches
    ) -> None:
        def fail(_ref: str) -> None:
            raise RuntimeError("the other side is away")

        def refuse(*_: object) -> None:
            raise RuntimeError("cannot be written down")

        def give_up(*_: object) -> None:
            pass

        with transaction(shop.engine) as conn:
            delayed.schedule(conn, "errand", ref=1, after_s=-1)
        backoff = Backoff(attempts=1, first_s=1, longest_s=1)
        batches: Batches = make_batches({"errand": Errand(fail, refuse, backoff=backoff)})
        with pytest.raises(RuntimeError, match="cannot be written down"):
            batches.drain("errand")
        assert told(shop.engine, OPERATORS) == []

        make_due(shop.engine)
        make_batches({"errand": Errand(fail, give_up, backoff=backoff)}).drain("errand")
        assert told(shop.engine, OPERATORS) == [("job_dead", "job:errand", 1)]

    def test_a_source_that_fails_three_times_in_a_row_is_one_notice_that_counts(
        self, engine: Engine, make_settings: Any
    ) -> None:
        """Two failures are told to no operator; each after them is counted."""
        urls = ("http://127.0.0.1:1/a.xml", "http://127.0.0.1:2/b.xml")
        url = engine.url.render_as_string(hide_password=False)
        settings = make_settings(database_url=url, feed_urls=urls)
        context = Context(engine, None, settings, "me")  # type: ignore[arg-type]
        for looks in range(1, 5):
            with engine.connect() as conn:
                now = read_now(conn)
            with pytest.raises(JobFailedError, match="every source failed: 2 sources"):
                sources.ask_sources(Run(context, now, now))
            if looks == 2:
                assert told(engine, OPERATORS) == []
            with transaction(engine) as conn:
                conn.execute(update(source).values(due_at=now))

        assert [(type_, times) for type_, _, times in told(engine, OPERATORS)] == [
            ("import_failed", 2),
            ("import_failed", 2),
        ]
        with engine.connect() as conn:
            found = find_notices(conn, READER, audience=OPERATORS)
        assert {listed.notice.data["source"] for listed in found} == {*urls}


class TestFreshArticles:
    """Readers who have been away for a day."""

    @pytest.fixture
    def run(self, engine: Engine, make_settings: Any) -> Run:
        with transaction(engine) as conn:
            now = read_now(conn).replace(minute=17, second=0, microsecond=0)
            conn.execute(insert(channel).values(id=1, slug="a", name="A"))
        context = Context(engine, None, make_settings(), "me")  # type: ignore[arg-type]
        return Run(context, now, now)

    def publish(self, run: Run, hours_ago: Sequence[float]) -> None:
        plain = {"channel_id": 1, "title": "t", "summary": "s", "body": "b", "status": "published"}
        with transaction(run.context.engine) as conn:
            for n, hours in enumerate(hours_ago):
                at = run.slot - timedelta(hours=hours)
                row = {"source_id": f"{hours}-{n}", "published_at": at, "updated_at": at}
                conn.execute(insert(article).values(**plain, **row))

    def visit(self, run: Run, reader_id: int, *hours_ago: float, unreturned: int = 0) -> None:
        moments = [run.slot - timedelta(hours=hours) for hours in hours_ago]
        with transaction(run.context.engine) as conn:
            seen = {"id": reader_id, "first_seen_at": min(moments), "last_seen_at": max(moments)}
            conn.execute(insert(reader).values(seen))
            for n, at in enumerate(moments):
                row = {
                    "event_id": reader_id.to_bytes(8) + n.to_bytes(8),
                    "reader_id": reader_id,
                    "channel_id": 0,
                    "batch_stamp": n,
                    "at": at,
                    "article_ids": b"",
                    "sources": b"",
                    "unreturned": unreturned,
                }
                conn.execute(insert(exposure).values(row))

    def test_one_who_has_been_away_for_a_day_is_told_how_much_is_new(self, run: Run) -> None:
        self.publish(run, [1, 2, 3, 30])
        self.visit(run, 1, 24.5, 90)
        self.visit(run, 2, 24.5, 3)
        self.visit(run, 3, 30)
        self.visit(run, 4, 24.5, unreturned=1)
        self.visit(run, 5, 5)

        assert tell_fresh(run) == "1 readers told of 3 articles"
        for reader_id in range(1, 6):
            expected = [("fresh_articles", "articles", 1)] if reader_id == 1 else []
            assert told(run.context.engine, reader_id) == expected

    def test_one_who_stays_away_is_told_once(self, run: Run) -> None:
        self.publish(run, [1, 1, 1])
        self.visit(run, 1, 24.5)
        tell_fresh(run)
        for hours in range(1, 30):
            later = run.slot + timedelta(hours=hours)
            tell_fresh(Run(run.context, later, later))

        assert len(told(run.context.engine, 1)) == 1

    def test_a_run_that_is_made_again_after_a_death_tells_nobody_twice(self, run: Run) -> None:
        self.publish(run, [1, 1, 1])
        self.visit(run, 1, 24.5)
        tell_fresh(run)
        tell_fresh(run)

        assert told(run.context.engine, 1) == [("fresh_articles", "articles", 1)]

    def test_too_few_articles_are_no_reason(self, run: Run) -> None:
        self.publish(run, [1] * (FEWEST - 1))
        self.visit(run, 1, 24.5)

        assert isinstance(tell_fresh(run), Routine)
        assert told(run.context.engine, 1) == []

    def test_one_who_wants_to_hear_nothing_of_it_hears_nothing(self, run: Run) -> None:
        self.publish(run, [1, 1, 1])
        self.visit(run, 1, 24.5)
        with transaction(run.context.engine) as conn:
            switch_off(conn, 1, [NoticeType.FRESH_ARTICLES])
        tell_fresh(run)

        assert told(run.context.engine, 1) == []
