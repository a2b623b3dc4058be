"""The judge of `make faults-gateway FULL=1`: it is not blind to what is lost, nor to what grows."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import insert

from bench.gateway_ledger import Ledger
from bench.gateway_soak import Memory, count_unkept
from tests.lab.newsroom import NOW_MS
from tidings.process.clock import moment
from tidings.process.settings import read_settings
from tidings.reading.acts import Action
from tidings.reading.tables import behaviour, mark
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

KEPT, LOST = bytes(16), bytes([1]) * 16


def make_ledger(**values: object) -> Ledger:
    nothing: dict[str, object] = {
        "placed": [],
        "cancelled": [],
        "paying": {},
        "wrong": {},
        "statuses": {},
        "acts": [],
        "exposures": [],
        "likings": [],
    }
    measured = {"tries": 0, "unanswered": 0, "p50_ms": 0, "p99_ms": 0}
    return Ledger(**(nothing | measured | values))  # type: ignore[arg-type]


def test_an_act_or_a_mark_that_is_not_in_sql_counts_as_lost(tmp_path: Path) -> None:
    engine = make_engine(read_settings(None, database_url=f"sqlite:///{tmp_path}/db").database)
    migrate(engine)
    with transaction(engine) as conn:
        conn.execute(
            insert(behaviour).values(
                event_id=KEPT,
                reader_id=7,
                article_id=1,
                channel_id=0,
                action="click",
                position=0,
                batch_stamp=NOW_MS,
                at=moment(NOW_MS),
            )
        )
        conn.execute(
            insert(mark).values(
                reader_id=7,
                kind=Action.LIKING.value,
                target=0,
                target_id=1,
                is_set=1,
                since=moment(NOW_MS),
                event_id=KEPT,
            )
        )

    def count(**values: object) -> int:
        return count_unkept(engine, make_ledger(**values))

    assert count(acts=[KEPT.hex()], likings=[(7, 1, True), (7, 2, False)]) == 0
    assert count(acts=[KEPT.hex(), LOST.hex()]) == 1
    assert count(exposures=[LOST.hex()]) == 1
    assert count(likings=[(7, 1, False), (7, 2, True)]) == 2
    engine.dispose()


def test_a_program_that_grows_is_told_by_its_slope() -> None:
    memory = Memory()
    memory.samples["leaking"] = [(float(n), 100 + n / 30) for n in range(120)]
    memory.samples["steady"] = [(float(n), 100 + n % 2) for n in range(120)]

    judged = memory.judge(0)

    assert round(judged["leaking"][2], 1) == 2.0
    assert abs(judged["steady"][2]) < 0.1


def test_a_program_that_was_started_anew_is_measured_anew() -> None:
    memory = Memory()
    memory.note("one", os.getpid())
    memory.note("one", os.getppid())

    assert len(memory.samples["one"]) == 1
