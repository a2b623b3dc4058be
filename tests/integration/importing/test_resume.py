"""An import that dies anywhere is completed by the same command: nothing lost, nothing doubled,
rejects included."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from tests.integration.importing.conftest import Stored, make_row, write_jsonl
from tidings.importing import Counts, InputError, Report, import_articles, loading
from tidings.news.tables import article, article_count
from tidings.store.engine import transaction

# Imports its first argument in batches of 10, and stops for ever at one moment of the third batch.
CHILD = """
import sys
from pathlib import Path
from sqlalchemy import event
from tidings.importing import import_articles, loading
from tidings.process.settings import load_settings
from tidings.store.engine import make_engine

source, folder, moment = sys.argv[1:]
loading.BATCH_ROWS = 10
seen = 0

def stop_at_third(*_what):
    global seen
    seen += 1
    if seen == 3:
        print("there", flush=True)
        sys.stdin.read()

engine = make_engine(load_settings().database)
hooks = {}
if moment == "before the commit":
    event.listen(engine, "commit", stop_at_third)
if moment == "after the commit":
    hooks["on_change"] = stop_at_third
if moment == "after the checkpoint":
    hooks["on_progress"] = stop_at_third
import_articles(source, engine, folder=Path(folder), **hooks)
"""
ROWS = [
    make_row(number, title="" if number % 10 == 7 else f"Title {number}") for number in range(55)
]
WHOLE = {f"n{number}" for number in range(55) if number % 10 != 7}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 10)


@contextmanager
def killed_at(moment: str, source: Path, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Run an import until that moment, and kill it when the block ends."""
    command = [sys.executable, "-c", CHILD, str(source), str(folder), moment]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"there\n"
            yield
        finally:
            child.kill()
        assert child.wait(60) == -signal.SIGKILL


@pytest.fixture
def child_env(engine: Engine, environment: Callable[..., dict[str, str]]) -> dict[str, str]:
    return environment(database_url=engine.url.render_as_string(hide_password=False))


@pytest.mark.parametrize(
    ("moment", "rows_done"),
    [("before the commit", 20), ("after the commit", 20), ("after the checkpoint", 30)],
)
@pytest.mark.parametrize("name", ["articles.jsonl", "articles.jsonl.gz"])
def test_kill_9_loses_and_doubles_nothing(
    moment: str,
    rows_done: int,
    name: str,
    tmp_path: Path,
    engine: Engine,
    stored: Stored,
    child_env: dict[str, str],
) -> None:
    """Wherever it strikes, the next run begins where the last checkpoint was, and completes rows
    and rejects."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    if name.endswith(".gz"):
        source = tmp_path / name
        source.write_bytes(gzip.compress((tmp_path / "articles.jsonl").read_bytes()))
    with killed_at(moment, source, tmp_path / "import", child_env):
        pass

    report = import_articles(str(source), engine, folder=tmp_path / "import")

    assert report.resumed_rows == rows_done
    assert (report.counts.rows, report.counts.rejected) == (55, 5)
    assert set(stored.articles()) == WHOLE
    assert stored.is_whole()
    assert report.rejects_path is not None
    lines = [json.loads(line)["line"] for line in report.rejects_path.read_text().splitlines()]
    assert lines == [8, 18, 28, 38, 48]


def test_the_run_after_a_completed_one_begins_anew(tmp_path: Path, engine: Engine) -> None:
    """There is nothing to continue."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    import_articles(str(source), engine, folder=tmp_path / "import")
    report = import_articles(str(source), engine, folder=tmp_path / "import")
    assert (report.resumed_rows, report.counts) == (0, Counts(unchanged=50, rejected=5))


def interrupted(source: Path, engine: Engine, folder: Path, **options: Any) -> None:
    """Leave a checkpoint behind at the second batch."""
    batches: list[int] = []

    def stop(report: Report, _fraction: float) -> None:
        batches.append(report.counts.rows)
        if len(batches) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_articles(str(source), engine, folder=folder, on_progress=stop, **options)


def test_restart_looks_at_every_row(tmp_path: Path, engine: Engine) -> None:
    """For who does not trust the checkpoint."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    interrupted(source, engine, tmp_path / "import")
    report = import_articles(str(source), engine, folder=tmp_path / "import", restart=True)
    assert (report.resumed_rows, report.counts.unchanged, report.counts.created) == (0, 18, 32)


def test_a_file_that_changed_is_read_from_its_start(
    tmp_path: Path, engine: Engine, stored: Stored
) -> None:
    """Its rows may have moved."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    interrupted(source, engine, tmp_path / "import")
    write_jsonl(source, [make_row(100), *ROWS])
    report = import_articles(str(source), engine, folder=tmp_path / "import")
    assert (report.resumed_rows, report.counts.rows) == (0, 56)
    assert set(stored.articles()) == WHOLE | {"n100"}


def test_a_checkpoint_of_a_database_that_is_gone_is_not_believed(
    tmp_path: Path, engine: Engine, stored: Stored
) -> None:
    """Trap: a restored backup or a deleted file under the same name would stay without the first
    rows."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    interrupted(source, engine, tmp_path / "import")
    with transaction(engine) as conn:
        conn.execute(delete(article_count))
        conn.execute(delete(article))
    report = import_articles(str(source), engine, folder=tmp_path / "import")
    assert report.resumed_rows == 0
    assert set(stored.articles()) == WHOLE


def test_another_channel_or_format_is_another_import(tmp_path: Path, engine: Engine) -> None:
    """What was asked differently was not done yet."""
    source = write_jsonl(tmp_path / "articles.jsonl", ROWS)
    interrupted(source, engine, tmp_path / "import")
    report = import_articles(str(source), engine, folder=tmp_path / "import", channel="sea")
    assert report.resumed_rows == 0


def test_a_gzip_file_cut_short_gives_what_it_has(
    tmp_path: Path, engine: Engine, stored: Stored
) -> None:
    """The rows before the cut are in, the cut is a reject at the last line, and the whole file
    completes it."""
    rows = [make_row(number, body=f"{number} " * 200) for number in range(400)]
    data = gzip.compress(write_jsonl(tmp_path / "plain", rows).read_bytes())
    source = tmp_path / "articles.jsonl.gz"
    source.write_bytes(data[: len(data) // 2])

    report = import_articles(str(source), engine, folder=tmp_path / "import")
    assert 0 < stored.count() < 400
    assert report.counts.rejected == 1
    assert "cannot be read: Compressed file ended" in report.first_rejects[0].reason

    source.write_bytes(data)
    assert import_articles(str(source), engine, folder=tmp_path / "import").counts.rejected == 0
    assert stored.count() == 400


def test_a_damaged_gzip_file_is_one_line(tmp_path: Path, engine: Engine) -> None:
    """If nothing at all can be read from it."""
    source = tmp_path / "articles.jsonl.gz"
    source.write_bytes(b"\x1f\x8b\x08\x00garbage")
    with pytest.raises(InputError, match=r"articles\.jsonl\.gz: "):
        import_articles(str(source), engine, folder=tmp_path / "import")
