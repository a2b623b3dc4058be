"""`tidings import events`: history comes into a site once, however often it is imported, and what
cannot be taken in is told by its line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select

from tests.integration.importing.conftest import make_row
from tidings.importing import InputError, Report, import_rows
from tidings.importing import events as importing_events
from tidings.importing.events import import_events
from tidings.news.tables import article, article_count
from tidings.process.clock import moment, now_ms
from tidings.reading.stored import clicks_since, exposures_since
from tidings.reading.tables import behaviour, exposure, mark
from tidings.store.engine import transaction

TIDINGS = str(Path(sys.executable).with_name("tidings"))
AT_S = 1_507_600_800
ACTS = ("click", "read", "collect", "liking", "exposure", "click")
HEADER = "ts,user_id,article_id,event,device,referrer\n"


@pytest.fixture
def ids(engine: Engine) -> list[int]:
    """Three articles."""
    import_rows([make_row(number) for number in range(3)], engine)
    with engine.connect() as conn:
        return list(conn.scalars(select(article.c.id).order_by(article.c.id)))


@pytest.fixture
def load(engine: Engine, tmp_path: Path) -> Callable[..., Report]:
    """Import a file of these rows; without rows, the same file again."""

    def run(*rows: str, **options: Any) -> Report:
        if rows:
            (tmp_path / "log.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
        return import_events(
            str(tmp_path / "log.csv"), engine, folder=tmp_path / "import", **options
        )

    return run


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as conn:
        return conn.scalar(select(func.count()).select_from(table)) or 0


def test_history_is_stored_as_what_readers_report_is(
    engine: Engine, ids: list[int], load: Callable[..., Report]
) -> None:
    """Clicks for signals and training, exposures, marks, and the counters of the cards."""
    report = load(
        f"{AT_S},7,{ids[0]},click,mobile,search",
        f"{AT_S + 5},7,{ids[0]},liking,mobile,search",
        f"{AT_S},7,{ids[1]},exposure,,",
        f"{AT_S + 9},8,{ids[0]},,,",
    )
    assert str(report.counts) == "4 rows: 4 new, 0 changed, 0 unchanged, 0 rejected"
    with engine.connect() as conn:
        (clicks,) = clicks_since(conn, moment(0))
        (exposures,) = exposures_since(conn, moment(0))
        counts = conn.execute(
            select(article_count.c.click, article_count.c.liking).where(
                article_count.c.article_id == ids[0]
            )
        ).one()
    assert [(one.at_ms, one.reader_id, one.article_id) for one in clicks] == [
        (AT_S * 1000, 7, ids[0]),
        ((AT_S + 9) * 1000, 8, ids[0]),
    ]
    assert clicks[0].context == 2 << 4 | 3
    assert [list(one.article_ids) for one in exposures] == [[ids[1]]]
    assert tuple(counts) == (2, 1)
    assert count(engine, mark) == 1


def test_a_file_that_is_imported_twice_changes_nothing(
    engine: Engine, ids: list[int], load: Callable[..., Report]
) -> None:
    """Nor does a row that stands in it twice."""
    rows = [f"{AT_S + place},7,{ids[place % 3]},{act},," for place, act in enumerate(ACTS)]
    first, again = load(*rows, rows[0]), load(*rows)
    assert (first.counts.created, first.counts.unchanged) == (len(ACTS), 1)
    assert (again.counts.created, again.counts.unchanged) == (0, len(ACTS))
    assert count(engine, behaviour) == len(ACTS) - 1
    assert count(engine, exposure) == 1


def test_what_cannot_be_taken_in_is_told_by_its_line(
    engine: Engine, ids: list[int], load: Callable[..., Report]
) -> None:
    """The future, what is no event, and what was done with articles that are not here."""
    report = load(
        f"{AT_S},7,{ids[0]},click,,",
        f"{now_ms() + 3_600_000},7,{ids[0]},click,,",
        f"{AT_S},7,{ids[0]},nod,,",
        f"{AT_S},7,{max(ids) + 1},click,,",
    )
    assert (report.counts.created, report.counts.unknown, report.counts.rejected) == (1, 1, 2)
    assert [reject.place.line for reject in report.first_rejects] == [3, 4]
    assert "is in the future" in report.first_rejects[0].reason
    assert report.rejects_path is not None
    kept = [json.loads(line) for line in report.rejects_path.read_text().splitlines()]
    assert [one["line"] for one in kept] == [3, 4]
    assert count(engine, behaviour) == 1


def stop_in_batch(number: int) -> Callable[[Report, float], None]:
    """What is told of progress, and presses Ctrl-C once so many batches are committed."""
    batches: list[Report] = []

    def stop(report: Report, _fraction: float) -> None:
        batches.append(report)
        if len(batches) == number:
            raise KeyboardInterrupt

    return stop


def test_a_run_that_was_stopped_goes_on_where_it_was(
    engine: Engine, ids: list[int], load: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without looking at what is in, and with the counts of the whole file at its end."""
    monkeypatch.setattr(importing_events, "BATCH_EVENTS", 4)
    rows = [f"{AT_S + place},{place},{ids[place % 3]},click,," for place in range(20)]
    with pytest.raises(KeyboardInterrupt):
        load(*rows, "never,7,1,click,,", on_progress=stop_in_batch(3))
    assert count(engine, behaviour) == 12

    report = load()
    assert report.resumed_rows == 12
    assert (report.counts.created, report.counts.unchanged, report.counts.rejected) == (20, 0, 1)
    assert count(engine, behaviour) == 20
    assert load().resumed_rows == 0


def test_a_checkpoint_of_a_database_that_was_lost_is_not_believed(
    engine: Engine, ids: list[int], load: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the rows that it counts would be missing for ever."""
    monkeypatch.setattr(importing_events, "BATCH_EVENTS", 4)
    rows = [f"{AT_S + place},{place},{ids[place % 3]},click,," for place in range(20)]
    with pytest.raises(KeyboardInterrupt):
        load(*rows, on_progress=stop_in_batch(3))
    with transaction(engine) as conn:
        conn.execute(delete(behaviour))

    report = load()
    assert (report.resumed_rows, report.counts.created) == (0, 20)


def test_what_is_no_file_of_events_is_refused(load: Callable[..., Report], tmp_path: Path) -> None:
    """In one line that says what is missing."""
    (tmp_path / "log.csv").write_text("title,body\nT,B\n")
    with pytest.raises(InputError, match=r"log\.csv: the first line has no column called ts"):
        load()


def test_the_command_says_how_it_went(
    environment: Callable[..., dict[str, str]],
    database_url: str,
    engine: Engine,
    ids: list[int],
    tmp_path: Path,
) -> None:
    """In one line, with exit code 1 and the file where the rejected rows are."""
    (tmp_path / "log.csv").write_text(f"{HEADER}{AT_S},7,{ids[0]},click,,\nsoon,7,1,click,,\n")
    done = subprocess.run(
        [TIDINGS, "import", "events", "log.csv"],
        env=environment(database_url=database_url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "line 3: ts is 'soon'" in done.stderr
    assert done.stdout.startswith("log.csv: 2 rows: 1 new, 0 changed, 0 unchanged, 1 rejected in ")
    assert "log.csv.rejects.jsonl" in done.stdout
    assert count(engine, behaviour) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_come_in_however_the_lines_of_a_file_end(
    engine: Engine, ids: list[int], tmp_path: Path, end: str
) -> None:
    """As Unix, Windows and old Macs write them, and with an empty last line or without one."""
    rows = [HEADER.strip(), *(f"{AT_S + number},7,{ids[number]},,," for number in range(3))]
    (tmp_path / "log.csv").write_bytes((end.join(rows) + end).encode())
    report = import_events(str(tmp_path / "log.csv"), engine, folder=tmp_path / "import")
    assert str(report.counts) == "3 rows: 3 new, 0 changed, 0 unchanged, 0 rejected"
    (tmp_path / "log.csv").write_bytes(end.join([*rows, "soon,7,1,,,"]).encode())
    report = import_events(str(tmp_path / "log.csv"), engine, folder=tmp_path / "import")
    assert str(report.counts) == "4 rows: 0 new, 0 changed, 3 unchanged, 1 rejected"


def test_a_header_that_ends_as_the_other_lines_do_not_is_refused(
    engine: Engine, ids: list[int], tmp_path: Path
) -> None:
    """Its first row would be taken for a part of the header."""
    rows = f"{AT_S},7,{ids[0]},,,\n{AT_S},8,{ids[0]},,,\n"
    (tmp_path / "log.csv").write_text(f"{HEADER.strip()},more\r{rows}", newline="")
    with pytest.raises(InputError, match="the first line ends with a carriage return, and others"):
        import_events(str(tmp_path / "log.csv"), engine, folder=tmp_path / "import")


def test_the_command_says_that_there_is_no_row(
    engine: Engine,
    tmp_path: Path,
    database_url: str,
    environment: Callable[..., dict[str, str]],
) -> None:
    """A quiet hour's export is no failure, and still worth a word."""
    (tmp_path / "log.csv").write_text(HEADER)
    done = subprocess.run(
        [TIDINGS, "import", "events", "log.csv"],
        env=environment(database_url=database_url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "log.csv has a header and no row under it" in done.stderr
