"""`tidings train` and `tidings models` on a site of its own, and a worker that takes what they
made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from services.recommender.models.files import models_of
from services.recommender.models.loading import ModelsInUse
from services.recommender.parts import make_models
from services.recommender.training import nightly, ranking
from tests.lab.clicks import some_clicks
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.process.settings import load_settings

Type = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """`typed("models", "list")` at a shell of a new site."""
    monkeypatch.setenv(f"{PREFIX}VAR_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert runner.invoke(main, ["migrate"]).exit_code == 0
    return lambda *words: runner.invoke(main, list(words))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of seconds."""
    for module, name, value in (
        (nightly, "LISTS", 150),
        (nightly, "HELD_LISTS", 60),
        (nightly, "LEAST_LISTS", 50),
        (nightly, "LEAST_ASKED", 20),
        (ranking, "LEAST_LISTS", 50),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Two days of clicks, and a row that is none."""
    clicks = some_clicks(sessions=600, seed=1)
    rows = zip(clicks.at_ms, clicks.readers, clicks.articles, clicks.sessions, strict=True)
    lines = [
        "ts,user_id,article_id,session_id",
        *(",".join(map(str, row)) for row in rows),
        "x,y,z,",
    ]
    path = tmp_path / "clicks.csv"
    path.write_text("\n".join(lines))
    return str(path)


def has_neighbours(models: ModelsInUse) -> bool:
    return models.neighbours is not None


@pytest.mark.usefixtures("few")
def test_a_file_of_clicks_becomes_models_that_a_worker_takes(typed: Type, file: str) -> None:
    settings = load_settings()
    models = make_models(settings)
    models.look()
    assert models.of(1).ranker.name == "blend"
    ended = typed("train", "--events", file)
    assert ended.exit_code == 0, ended.output
    assert "1 refused" in ended.output
    assert "MiB" in ended.output
    ranker, neighbours = sorted(models_of(settings.site.var_dir).names(), reverse=True)
    for name in (ranker, neighbours):
        assert typed("models", "use", name).output == f"{name} is in use\n"
    models.look()
    assert models.of(1).ranker.name == ranker
    assert has_neighbours(models)
    shown = [json.loads(line) for line in typed("models", "list", "--json").output.splitlines()]
    assert {(row["model"], row["kind"], row["state"]) for row in shown} == {
        (ranker, "ranker", "whole"),
        (neighbours, "neighbours", "whole"),
    }
    assert "yes" in typed("models", "list").output
    assert typed("models", "use", "blend").exit_code == 0
    assert typed("models", "use", "no-neighbours").exit_code == 0
    models.look()
    assert models.of(1).ranker.name == "blend"
    assert not has_neighbours(models)
    assert typed("models", "prune", "--keep", "0").output.endswith("2 removed, 0 left\n")


@pytest.mark.usefixtures("few")
def test_the_same_events_and_seed_give_the_same_trees(typed: Type, file: str) -> None:
    for _ in range(2):
        assert typed("train", "--events", file, "--kind", "ranker", "--seed", "5").exit_code == 0
    folder = models_of(load_settings().site.var_dir)
    first, second = (folder.read_manifest(name) for name in folder.names())
    assert first.arrays == second.arrays


@pytest.mark.usefixtures("few")
def test_a_ranker_that_few_lists_judge_is_kept_and_said_why_it_is_not_used(
    typed: Type, file: str
) -> None:
    ended = typed("train", "--events", file, "--kind", "ranker")
    assert ended.exit_code == 0, ended.output
    assert "kept, but not used: 60 held-out questions judge it, and 200 are needed" in ended.output
    (listed,) = [json.loads(line) for line in typed("models", "list", "--json").output.splitlines()]
    assert not listed["in use"]


def test_a_site_without_readers_has_too_little_to_learn_from(typed: Type) -> None:
    ended = typed("train")
    assert ended.exit_code == os.EX_NOINPUT
    assert "no reader has clicked an article that is published" in ended.output
    assert "0 readers have read 5 articles or more, and 200 are needed" in ended.output
    assert "no model has been trained" in typed("models", "list").output


def test_without_the_extra_the_command_says_what_to_install(
    typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.recommender.commands.train.missing_of", lambda extra: ["duckdb"])
    ended = typed("train")
    assert ended.exit_code == 2
    (line,) = ended.stderr.splitlines()
    assert "training needs duckdb: `make install-train` in a clone" in line
    assert f"`{sys.executable} -m pip install 'tidings[train]'`" in line


def test_a_training_that_was_killed_leaves_nothing_for_ever(typed: Type, file: str) -> None:
    """Its events are on disk when it is killed; the next training removes them."""
    program = (
        "import os, pathlib, sys\n"
        "from services.recommender.training import nightly\n"
        "nightly.make_training_log = lambda *_: os.kill(os.getpid(), 9)\n"
        "from tidings.commands.main import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, "train", "--events", file]
    killed = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    var = load_settings().site.var_dir
    assert [*var.rglob("*.parquet")]

    assert typed("train").exit_code == os.EX_NOINPUT
    assert not [*var.rglob("*.parquet")]
    assert [path.name for path in (var / "models").iterdir()] == ["training.lock"]


@pytest.mark.parametrize("words", [("train", "--events"), ("evaluate",)])
def test_a_seed_that_is_none_is_refused_before_anything_is_read(
    typed: Type, file: str, words: tuple[str, ...]
) -> None:
    ended = typed(*words, file, "--seed", "-1")
    assert ended.exit_code == 2
    assert "-1 is not in the range" in ended.output


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "soon"]
)
@pytest.mark.parametrize(
    "words",
    [
        ("train", "--events", "clicks.csv", "--since"),
        ("train", "--events", "clicks.csv", "--held-out"),
        ("train", "--events", "clicks.csv", "--until"),
        ("evaluate", "clicks.csv", "--since"),
        ("evaluate", "clicks.csv", "--until"),
        ("articles", "publish", "1", "--at"),
        ("jobs", "publish", "1", "--at"),
    ],
)
def test_a_moment_outside_of_the_calendar_is_refused_in_one_line(
    typed: Type, file: str, words: tuple[str, ...], moment: str
) -> None:
    ended = typed(*words, moment)
    assert isinstance(ended.exception, SystemExit)
    assert ended.exit_code in ({1, 2} if "--at" in words else {2})
    assert "Error: " in ended.stderr.splitlines()[-1]


def test_two_trainings_do_not_run_at_once(typed: Type) -> None:
    with models_of(load_settings().site.var_dir).lock():
        for words in (["train"], ["models", "prune"]):
            ended = typed(*words)
            assert ended.exit_code == os.EX_TEMPFAIL
            assert "another process trains for this site" in ended.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no column called ts"),
        ("a,b,c\n1,2,3\n", "no column called ts"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    typed: Type, tmp_path: Path, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
    ended = typed("train", "--events", "bad.csv")
    assert ended.exit_code == 2
    (line,) = ended.stderr.splitlines()
    assert why in line


@pytest.mark.usefixtures("few")
def test_a_spoiled_model_is_not_used_and_said_to_be_spoiled(
    typed: Type, file: str, tmp_path: Path
) -> None:
    assert typed("train", "--events", file, "--kind", "ranker").exit_code == 0
    (name,) = models_of(load_settings().site.var_dir).names()
    models = make_models(load_settings())
    (tmp_path / "var" / "models" / name / "leaf.npy").write_bytes(b"cut")
    ended = typed("models", "use", name)
    assert ended.exit_code == 1
    assert "leaf.npy has 3 bytes" in ended.stderr
    assert "leaf.npy has 3 bytes" in typed("models", "list").output
    (tmp_path / "var" / "models" / "ranker.in_use").write_text(name)
    with capture_logs() as logs:
        models.look()
    assert [log["event"] for log in logs] == ["model_refused"]
    assert models.of(1).ranker.name == "blend"


def test_a_model_that_is_not_there_is_not_used(typed: Type) -> None:
    ended = typed("models", "use", "ranker-20260101T000000-0000")
    assert ended.exit_code == 1
    assert "there is no model" in ended.stderr


def test_settings_show_the_variants_and_serving_gives_them_out(
    typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}RECOMMENDER_VARIANTS", "1:blend:50,2:in-use:50")
    assert "1:blend:50,2:in-use:50" in typed("settings").output
    models = make_models(load_settings())
    assert {models.of(reader).variant for reader in range(100)} == {1, 2}
