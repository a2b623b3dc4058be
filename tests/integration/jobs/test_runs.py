"""Static jobs: each firing once, though several daemons fire it and one dies over it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, insert, select, update

from jobs.static.context import Context, Routine, Run
from jobs.static.locks import exclusive
from jobs.static.runs import Outcome, StaticJob, find_due, read_now, run_due, run_slot
from jobs.tables import daemon, job_run
from tests.lab.servers import wait_until
from tidings.store.engine import database_now, transaction

REPOSITORY = Path(__file__).parents[3]
MakeContext = Callable[[str], Context]


@pytest.fixture
def make_context(engine: Engine, make_settings: Any) -> MakeContext:
    def make(owner: str) -> Context:
        return Context(engine, None, make_settings(), owner)  # type: ignore[arg-type]

    return make


def runs(engine: Engine) -> list[Any]:
    with engine.connect() as conn:
        return list(conn.execute(select(job_run).order_by(job_run.c.slot)))


class Work:
    """Counts its runs; fails while told to."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.failures = 0

    def __call__(self, run: Run) -> str:
        self.runs.append(run)
        if self.failures:
            self.failures -= 1
            raise ValueError("not yet")
        return "did it"


def test_eight_daemons_fire_a_slot_once(engine: Engine, make_context: MakeContext) -> None:
    work = Work()
    job = StaticJob("nightly", "30 2 * * *", work)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: run_due(job, make_context(f"d{n}")), range(24)))
    assert len(work.runs) == 1
    (run,) = runs(engine)
    assert (run.state, run.attempt, run.summary, run.error) == ("done", 1, "did it", None)
    assert run.done_at >= run.started_at


def test_a_failure_is_recorded_and_tried_again_twice_after_a_while(
    engine: Engine, make_context: MakeContext
) -> None:
    work = Work()
    work.failures = 99
    job = StaticJob("nightly", "30 2 * * *", work)
    for attempt in (1, 2, 3):
        assert [ran.outcome for ran in run_due(job, make_context("d"))] == [Outcome.FAILED]
        assert run_due(job, make_context("d")) == [], "not at once"
        assert (runs(engine)[0].attempt, runs(engine)[0].error) == (attempt, "ValueError: not yet")
        with transaction(engine) as conn:
            conn.execute(update(job_run).values(done_at=read_now(conn) - timedelta(minutes=2)))
    assert run_due(job, make_context("d")) == [], "three attempts are all"


def test_what_a_dead_daemon_began_is_taken_over_and_what_a_living_one_does_is_not(
    engine: Engine, make_context: MakeContext
) -> None:
    work = Work()
    job = StaticJob("nightly", "30 2 * * *", work)
    (slot,) = find_due(engine, job, "me")
    with transaction(engine) as conn:
        now = database_now(conn)
        begun = {"owner": "other", "state": "running", "attempt": 1, "started_at": now}
        conn.execute(insert(job_run).values(job="nightly", slot=slot, **begun))
        conn.execute(insert(daemon).values(name="other", pid=1, version="1", beat_at=now))
    assert run_due(job, make_context("me")) == []
    with transaction(engine) as conn:
        conn.execute(update(daemon).values(beat_at=read_now(conn) - timedelta(minutes=1)))
    assert [ran.outcome for ran in run_due(job, make_context("me"))] == [Outcome.DONE]
    assert (runs(engine)[0].owner, runs(engine)[0].attempt) == ("me", 2)


def test_a_run_whose_end_could_not_be_written_is_its_own_owners_to_repeat(
    engine: Engine, make_context: MakeContext
) -> None:
    work = Work()
    job = StaticJob("nightly", "30 2 * * *", work)
    run_due(job, make_context("me"))
    with transaction(engine) as conn:
        conn.execute(update(job_run).values(state="running"))
        conn.execute(
            insert(daemon).values(name="me", pid=1, version="1", beat_at=database_now(conn))
        )
    assert run_due(job, make_context("other")) == []
    assert len(run_due(job, make_context("me"))) == 1


def test_missed_nights_are_all_made_good_when_the_job_says_so(
    engine: Engine, make_context: MakeContext
) -> None:
    work = Work()
    job = StaticJob("ledger", "30 2 * * *", work, missed="all")
    (newest,) = find_due(engine, job, "me")
    with transaction(engine) as conn:
        done = {"owner": "d", "state": "done", "attempt": 1, "started_at": newest}
        conn.execute(insert(job_run).values(job="ledger", slot=newest - timedelta(days=3), **done))
    ran = run_due(job, make_context("me"))
    assert [one.slot for one in ran] == [newest - timedelta(days=n) for n in (2, 1, 0)]
    assert [run.slot for run in work.runs] == [one.slot for one in ran]


def test_the_lock_has_one_holder_and_goes_with_it(engine: Engine) -> None:
    with exclusive(engine, "job.x") as first, exclusive(engine, "job.x") as second:
        assert (first, second) == (True, False)
        with exclusive(engine, "job.y") as other:
            assert other
    with exclusive(engine, "job.x") as again:
        assert again


def test_the_lock_is_free_when_its_holder_is_killed(
    database_url: str, engine: Engine, environment: Any
) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from jobs.static.locks import exclusive
        from tidings.process.settings import load_settings
        from tidings.store.engine import make_engine
        with exclusive(make_engine(load_settings().database), "job.x") as held:
            print(held, flush=True)
            time.sleep(60)
        """
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env=environment(database_url=database_url),
        cwd=REPOSITORY,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"True\n"

    def is_free() -> bool:
        with exclusive(engine, "job.x") as held:
            return held

    assert not is_free()
    holder.kill()
    wait_until(is_free, 20, "the lock of a killed process")
    holder.wait()
    holder.stdout.close()


def test_a_job_that_runs_elsewhere_is_busy(engine: Engine, make_context: MakeContext) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work(_run: Run) -> str:
        began.set()
        assert go_on.wait(60)
        return ""

    job = StaticJob("slow", "30 2 * * *", work)
    (slot,) = find_due(engine, job, "me")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_slot, job, slot, make_context("one"))
        assert began.wait(60)
        assert run_slot(job, slot, make_context("two")).outcome is Outcome.BUSY
        go_on.set()
        assert first.result().outcome is Outcome.DONE
    assert run_slot(job, slot, make_context("two")).outcome is Outcome.ALREADY


def test_a_run_with_nothing_to_tell_is_kept_in_the_history_and_out_of_the_log(
    engine: Engine, make_context: MakeContext
) -> None:
    """A job of every minute would push everything else off an operator's screen."""
    context = make_context("me")
    with engine.connect() as conn:
        now = read_now(conn)

    with structlog.testing.capture_logs() as told:
        for name, work in (("quiet", lambda _: Routine("0 done")), ("loud", lambda _: "3 done")):
            assert (
                run_slot(StaticJob(name, "* * * * *", work), now, context).outcome is Outcome.DONE
            )

    assert [(line["job"], line["log_level"]) for line in told if line["event"] == "job_done"] == [
        ("quiet", "debug"),
        ("loud", "info"),
    ]
    assert {run.summary for run in runs(engine)} == {"0 done", "3 done"}
