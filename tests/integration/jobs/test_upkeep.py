"""The jobs that look after what others do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from jobs.static.context import Context, JobFailedError, Routine, Run
from jobs.static.runs import read_now
from jobs.table import STATIC_JOBS
from jobs.tables import job_run
from jobs.work import orders as order_jobs
from jobs.work import training, upkeep
from tidings.news.tables import article, article_count, channel
from tidings.reading import recounting
from tidings.reading.tables import behaviour
from tidings.shop.tables import orders, sku
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import transaction
from tidings.store.transacting import transact

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(engine: Engine, make_settings: Any) -> MakeRun:
    def make(**values: Any) -> Run:
        with engine.connect() as conn:
            now = read_now(conn)
        url = engine.url.render_as_string(hide_password=False)
        settings = make_settings(**{"database_url": url, **values})
        return Run(Context(engine, None, settings, "me"), now, now)  # type: ignore[arg-type]

    return make


def add_article(engine: Engine, id_: int, published_at: datetime) -> None:
    row = {"channel_id": 1, "title": "t", "summary": "s", "body": "b", "status": "published"}
    with transaction(engine) as conn:
        conn.execute(
            insert(article).values(
                id=id_,
                source_id=str(id_),
                published_at=published_at,
                updated_at=published_at,
                **row,
            )
        )


def add_acts(engine: Engine, article_id: int, action: str, n: int, at: datetime) -> None:
    plain = {
        "reader_id": 1,
        "article_id": article_id,
        "channel_id": 1,
        "position": 0,
        "batch_stamp": 1,
        "at": at,
    }
    with transaction(engine) as conn:
        for k in range(n):
            event_id = f"{article_id}{action}{k}{at:%y%j}".encode()[:16].ljust(16, b".")
            conn.execute(insert(behaviour).values(event_id=event_id, action=action, **plain))


@pytest.fixture
def paper(engine: Engine) -> Engine:
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(id=1, slug="c", name="C"))
    return engine


def counts(engine: Engine, id_: int) -> tuple[int, int]:
    with engine.connect() as conn:
        row = conn.execute(select(article_count).where(article_count.c.article_id == id_)).one()
    return row.click, row.reading


def test_an_overdue_order_is_promised_anew_and_never_cancelled_here(
    shop: Any, make_run: MakeRun
) -> None:
    forgotten, waiting = shop.order(), shop.order()
    with transaction(shop.engine) as conn:
        conn.execute(update(orders).values(expires_at=read_now(conn) - timedelta(minutes=2)))
        conn.execute(delete(delayed_job).where(delayed_job.c.ref == str(forgotten.order_id)))
    assert order_jobs.find_overdue_orders(make_run()) == "2 orders overdue, 1 promised anew"
    assert {job.ref for job in shop.jobs()} == {str(forgotten.order_id), str(waiting.order_id)}
    assert shop.read(forgotten.order_id).status == "unpaid"


def test_books_that_do_not_balance_fail_the_job_by_name(shop: Any, make_run: MakeRun) -> None:
    shop.order((2, 1))
    assert order_jobs.balance_books(make_run()) == "every product balances"
    with transaction(shop.engine) as conn:
        conn.execute(update(sku).where(sku.c.id == 3).values(quantity=1))
    with pytest.raises(JobFailedError, match="1 products do not balance: 3"):
        order_jobs.balance_books(make_run())


def test_wrong_missing_and_right_counters(paper: Engine, make_run: MakeRun) -> None:
    now = datetime.now(UTC)
    for id_ in (1, 2, 3):
        add_article(paper, id_, now - timedelta(days=1))
    add_article(paper, 4, now - timedelta(days=400))
    for id_ in (1, 2, 4):
        add_acts(paper, id_, "click", 3, now)
    add_acts(paper, 1, "reading", 2, now)
    with transaction(paper) as conn:
        conn.execute(insert(article_count).values(article_id=1, click=7, reading=0))
        conn.execute(insert(article_count).values(article_id=3, click=5))
        conn.execute(insert(article_count).values(article_id=4, click=5000))
    assert upkeep.recount(make_run()) == "3 articles corrected"
    assert [counts(paper, id_) for id_ in (1, 2, 3, 4)] == [(3, 2), (3, 0), (0, 0), (5000, 0)]
    assert upkeep.recount(make_run()) == "0 articles corrected"


def test_no_increment_falls_between_counting_and_setting(paper: Engine, make_run: MakeRun) -> None:
    """Readers click while counters are being corrected; in the end each click counts once."""
    now = datetime.now(UTC)
    add_article(paper, 1, now)
    with transaction(paper) as conn:
        conn.execute(insert(article_count).values(article_id=1))
    plain = {
        "reader_id": 1,
        "article_id": 1,
        "channel_id": 1,
        "position": 0,
        "batch_stamp": 1,
        "at": now,
    }

    def click(conn: Connection, n: int) -> None:
        conn.execute(
            insert(behaviour).values(event_id=f"{n:016d}".encode(), action="click", **plain)
        )
        conn.execute(update(article_count).values(click=article_count.c.click + 1))

    def click_often() -> None:
        for n in range(150):
            transact(paper, lambda conn, n=n: click(conn, n))  # type: ignore[misc]

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(click_often)
        while not reader.done():
            recounting.recount_locked(paper, [1])
        reader.result()
    assert counts(paper, 1) == (150, 0)


def test_old_rows_go_and_the_last_run_of_each_job_stays(paper: Engine, make_run: MakeRun) -> None:
    now = datetime.now(UTC)
    add_article(paper, 1, now)
    add_acts(paper, 1, "click", 3, now - timedelta(days=100))
    add_acts(paper, 1, "click", 2, now)
    with transaction(paper) as conn:
        for days in (200, 150, 1):
            for name in ("a", "b"):
                if (name, days) != ("b", 1):
                    done = {"owner": "d", "state": "done", "attempt": 1, "started_at": now}
                    conn.execute(
                        insert(job_run).values(job=name, slot=now - timedelta(days=days), **done)
                    )
    summary = (
        "3 behaviours, 0 payment callbacks, 0 looks at sources, 0 entries of the audit log and 3 "
        "runs deleted"
    )
    assert upkeep.prune(make_run()) == summary
    with paper.connect() as conn:
        left = [
            (row.job, (now - row.slot).days)
            for row in conn.execute(select(job_run).order_by(job_run.c.job))
        ]
    assert left == [("a", 1), ("b", 150)]


def test_training_runs_apart_and_says_how_it_went(make_run: MakeRun, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; print('epoch 1'); print('auc 0.7'); sys.exit(int(sys.argv[1]))")
    assert training.train(make_run(training_command=f"{sys.executable} {script} 0")) == "auc 0.7"
    with pytest.raises(JobFailedError, match="exited with 3"):
        training.train(make_run(training_command=f"{sys.executable} {script} 3"))
    with pytest.raises(JobFailedError, match="no-such-program"):
        training.train(make_run(training_command="/no-such-program"))


def test_tidings_train_is_what_trains_where_nothing_else_is_set(make_run: MakeRun) -> None:
    """A paper without readers has nothing to learn from, which is no failure."""
    ended = training.train(make_run())
    assert isinstance(ended, Routine)
    assert "0 readers have read 5 articles or more" in ended


def test_without_the_extra_training_says_what_to_install(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "missing_of", lambda extra: ["duckdb", "lightgbm"])
    ended = training.train(make_run())
    assert isinstance(ended, Routine)
    assert "without duckdb, lightgbm: `make install-train` in a clone" in ended
    assert f"`{sys.executable} -m pip install 'tidings[train]'`" in ended
    script = tmp_path / "own.py"
    script.write_text("print('own')")
    assert training.train(make_run(training_command=f"{sys.executable} {script}")) == "own"


def test_training_that_fails_says_why(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setenv("TIDINGS_RECOMMENDER_VARIANTS", "nonsense")
    with pytest.raises(JobFailedError, match=r"exited with 2: .*NUMBER:RANKER:PERCENT"):
        training.train(run)


def test_training_ends_when_the_daemon_does(make_run: MakeRun) -> None:
    run = make_run(training_command=f"{sys.executable} -c 'import signal; signal.pause()'")
    threading.Timer(0.5, run.context.stopping.set).start()
    with pytest.raises(JobFailedError, match="stopped"):
        training.train(run)


def test_the_table_of_static_jobs_is_sound() -> None:
    names = [job.name for job in STATIC_JOBS]
    assert len(names) == len(set(names))
    for job in STATIC_JOBS:
        assert job.work.__doc__, f"{job.name} does not say what it does"
        following = job.trigger.get_next_fire_time(None, datetime.now(UTC))
        assert following.second == following.microsecond == 0
