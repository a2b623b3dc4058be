"""The job store under APScheduler: it looks, it never hands out a row, and nothing it does ends the
scheduler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine, insert, select, update

from jobs.delayed import job_store
from jobs.delayed.batches import BATCH_ROWS, Batches
from jobs.delayed.clock_guard import ClockGuard
from jobs.delayed.job_store import BATCHES_PER_KIND, TableJobStore, Task
from tests.lab.servers import start_mariadb, wait_until
from tidings.store import delayed
from tidings.store.delayed_due import read_first_moments
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

KINDS = ("note", "other")
# Ends what hangs.
PATIENCE_S = 60


def schedule(engine: Engine, kind: str, *refs: object, after_s: float = -1) -> None:
    with transaction(engine) as conn:
        for ref in refs:
            delayed.schedule(conn, kind, ref=ref, after_s=after_s)


class Ran:
    """A handler that announces each row."""

    def __init__(self) -> None:
        self.refs: list[str] = []
        self.news = threading.Condition()

    def __call__(self, _conn: object, due: Any, _now: datetime) -> dict[int, datetime]:
        with self.news:
            self.refs += [job.ref for job in due]
            self.news.notify_all()
        return {}

    def wait_for(self, *refs: str) -> None:
        with self.news:
            assert self.news.wait_for(lambda: set(refs) <= set(self.refs), PATIENCE_S), self.refs


@pytest.fixture
def ran() -> Ran:
    return Ran()


@pytest.fixture
def store(engine: Engine, ran: Ran) -> TableJobStore:
    return TableJobStore(
        engine,
        Batches(engine, dict.fromkeys(KINDS, ran), ClockGuard(), threading.Event()),
        "default",
    )


@pytest.fixture
def scheduler(store: TableJobStore) -> Iterator[BackgroundScheduler]:
    scheduler = BackgroundScheduler(timezone=UTC, jobstores={"due": store})
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def due_ids(store: TableJobStore) -> list[str]:
    return [job.id for job in store.get_due_jobs(datetime.now(UTC))]


@pytest.fixture
def idle_store(store: TableJobStore) -> TableJobStore:
    """A store whose scheduler does not run, to be asked by hand."""
    store.start(BackgroundScheduler(timezone=UTC), "due")
    return store


def has_looked(store: TableJobStore, before: int) -> bool:
    """Twice: the first look may have begun before."""
    return store.looks > before + 1


def test_an_empty_table_is_looked_at_once_a_second(idle_store: TableJobStore) -> None:
    assert due_ids(idle_store) == []
    asked_at = datetime.now(UTC)
    next_look = idle_store.get_next_run_time()
    assert asked_at <= next_look - timedelta(seconds=1) <= datetime.now(UTC)


def test_the_next_look_is_when_the_next_row_is_due(
    engine: Engine, idle_store: TableJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "LOOK_EVERY_S", 3600.0)
    schedule(engine, "note", 1, after_s=600)
    with engine.connect() as conn:
        due_at = conn.scalars(select(delayed_job.c.run_at)).one()
    looked_at = datetime.now(UTC)
    assert due_ids(idle_store) == []
    late = idle_store.get_next_run_time() - due_at
    # Both clocks are this machine's; the database's counts milliseconds.
    rounding = timedelta(milliseconds=2)
    assert -rounding < late < datetime.now(UTC) - looked_at + rounding


def test_a_flood_of_one_kind_leaves_room_for_another(
    engine: Engine, idle_store: TableJobStore
) -> None:
    schedule(engine, "note", *range(BATCHES_PER_KIND * BATCH_ROWS + 1), after_s=-2)
    schedule(engine, "other", 1)
    assert due_ids(idle_store) == [
        "batch:note:0",
        "batch:other:0",
        *(f"batch:note:{n}" for n in (1, 2, 3)),
    ]
    assert due_ids(idle_store) == [], "what was offered is not offered again"


def test_a_row_of_another_process_is_seen_without_a_signal(
    engine: Engine, scheduler: BackgroundScheduler, ran: Ran
) -> None:
    """APScheduler's own stores never see it: #218, #471, #547."""
    assert scheduler.running
    schedule(engine, "note", "x", after_s=0)
    ran.wait_for("x")


def test_add_job_works_as_apschedulers_users_expect(
    engine: Engine, scheduler: BackgroundScheduler, ran: Ran
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    scheduler.add_job(
        Task("note"), "date", run_date=soon, id="42", kwargs={"why": "so"}, jobstore="due"
    )
    ran.wait_for("42")
    far = datetime.now(UTC) + timedelta(hours=1)
    scheduler.add_job(
        Task("note"), "date", run_date=far, id="43", kwargs={"why": "so"}, jobstore="due"
    )
    with pytest.raises(ConflictingIdError):
        scheduler.add_job(Task("note"), "date", run_date=far, id="43", jobstore="due")
    job = scheduler.get_job("note:43", "due")
    assert (job.name, job.kwargs) == ("note", {"why": "so"})
    assert abs(job.next_run_time - far) < timedelta(milliseconds=1)
    job.pause()
    assert [(job.id, job.next_run_time) for job in scheduler.get_jobs("due")] == [("note:43", None)]
    job.resume()
    job.reschedule("date", run_date=far + timedelta(hours=1))
    assert scheduler.get_job("note:43", "due").next_run_time > far
    job.remove()
    with pytest.raises(JobLookupError):
        job.remove()
    with engine.connect() as conn:
        assert conn.execute(select(delayed_job)).all() == []


@pytest.mark.parametrize(
    "job", [{"func": print}, {"func": Task("nix")}, {"func": Task("note"), "trigger": "interval"}]
)
def test_what_cannot_be_a_row_is_refused(
    scheduler: BackgroundScheduler, job: dict[str, Any]
) -> None:
    more = {"seconds": 5} if job.get("trigger") else {}
    with pytest.raises(ValueError, match=r"Task|handler"):
        scheduler.add_job(**{"trigger": "date", **job}, **more, jobstore="due")


def test_a_row_of_an_unknown_kind_is_listed_and_never_deleted(
    engine: Engine, scheduler: BackgroundScheduler, ran: Ran
) -> None:
    """APScheduler removes a job whose function it cannot find: a rename empties the store on
    start."""
    schedule(engine, "from_a_newer_version", 1)
    schedule(engine, "note", 1)
    ran.wait_for("1")
    left = ["from_a_newer_version:1"]
    wait_until(
        lambda: [job.id for job in scheduler.get_jobs("due")] == left, 20, "the known row to go"
    )


def test_dead_rows_are_not_offered(engine: Engine, idle_store: TableJobStore) -> None:
    schedule(engine, "note", 1)
    with transaction(engine) as conn:
        conn.execute(update(delayed_job).values(state="dead"))
    assert due_ids(idle_store) == []


def test_the_scheduler_outlives_its_database(make_settings: Any, ran: Ran) -> None:
    """With APScheduler's own store the scheduler's thread is dead after this in three cases of
    four."""
    with start_mariadb() as server:
        url = server.new_database()
        engine = make_engine(make_settings(database_url=url).database)
        hasty = make_engine(make_settings(database_url=url, database_read_timeout_s=2).database)
        migrate(engine)
        store = TableJobStore(
            hasty, Batches(hasty, {"note": ran}, ClockGuard(), threading.Event()), "default"
        )
        scheduler = BackgroundScheduler(timezone=UTC, jobstores={"due": store})
        scheduler.start()
        try:
            for n in range(3):
                server.kill()
                wait_until(partial(has_looked, store, store.looks), 10, "looks at a dead database")
                server.start()
                schedule(engine, "note", n)
                ran.wait_for(str(n))
        finally:
            scheduler.shutdown()
            hasty.dispose()
            engine.dispose()


def test_a_look_at_many_pending_rows_reads_few_of_them(
    mariadb_url: str, make_settings: Any
) -> None:
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    far = datetime(2030, 1, 1, tzinfo=UTC)
    plain = {"kind": "note", "run_at": far, "payload": {}, "created_at": far}
    with transaction(engine) as conn:
        conn.execute(insert(delayed_job), [{"ref": str(n), **plain} for n in range(20_000)])
    with engine.connect() as conn:
        conn.exec_driver_sql("FLUSH STATUS")
        _, firsts = read_first_moments(conn, ("note",))
        reads = conn.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    assert firsts == {"note": far}
    assert sum(int(value) for _, value in reads) < 30, reads
    engine.dispose()
