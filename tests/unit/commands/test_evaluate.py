"""`tidings evaluate` as an operator meets it: figures for people and programs, bad rows by their
line, and one line where nothing can be done."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner

from tidings.commands.main import main

HEADER = "ts,user_id,article_id,session_id\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def make_log() -> str:
    """Readers who all go from article 10 to 20, one each minute, for three hours."""
    rows = []
    for reader in range(180):
        at_s = 1_507_600_800 + 60 * reader
        rows += [f"{at_s},{reader + 1},10,{reader + 1}", f"{at_s + 5},{reader + 1},20,{reader + 1}"]
    return HEADER + "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_the_figures_of_every_contender_are_one_json_object(
    run: CliRunner, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """However the file is packed."""
    (tmp_path / "log").write_bytes(pack(make_log().encode()))
    done = run.invoke(main, ["evaluate", "log", "--json"])
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    report = json.loads(done.stdout)
    assert (report["events"], report["questions"], report["rejected"]) == (360, 180, 0)
    names = [contender["name"] for contender in report["contenders"]]
    assert "co-visitation 6 h + .3 counter" in names
    for contender in report["contenders"]:
        hit = contender["before_mix"]["hit@10"]
        assert hit["low"] <= hit["value"] <= hit["high"]
        assert hit["value"] > 0.9
        assert [part["questions"] for part in contender["by_prefix"]] == [180]


def test_a_file_with_carriage_returns_alone_is_read_whole(run: CliRunner, tmp_path: Path) -> None:
    """As old Macs and some spreadsheets write it."""
    (tmp_path / "log.csv").write_bytes(make_log().replace("\n", "\r").encode())
    done = run.invoke(main, ["evaluate", "log.csv", "--json"])
    assert json.loads(done.stdout)["events"] == 360


def test_a_handful_of_questions_is_said_to_be_too_little(run: CliRunner, tmp_path: Path) -> None:
    """Of a hundred on nothing is said."""
    (tmp_path / "log.csv").write_text(make_log())
    for sample, said in (
        ("99", ["99 questions are too few to judge by: with fewer than 100 a figure says little"]),
        ("100", []),
    ):
        done = run.invoke(main, ["evaluate", "log.csv", "--sample", sample])
        assert (done.exit_code, done.stderr.splitlines()) == (0, said)


def test_the_log_of_the_program_is_not_among_the_figures(tmp_path: Path) -> None:
    """A model in use is logged on stderr."""
    (tmp_path / "log.csv").write_text(make_log())
    (tmp_path / "var" / "models").mkdir(parents=True)
    (tmp_path / "var" / "models" / "ranker.in_use").write_text("blend")
    command = [str(Path(sys.executable).with_name("tidings")), "evaluate", "log.csv", "--json"]
    # A clone may have a site of its own.
    environment = {**os.environ, "TIDINGS_VAR_DIR": str(tmp_path / "var")}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "ranker_in_use" in done.stderr
    assert json.loads(done.stdout)["questions"] == 180


def test_people_get_a_table_of_the_same(run: CliRunner, tmp_path: Path) -> None:
    """With the margins over the baselines."""
    (tmp_path / "log.csv").write_text(make_log())
    done = run.invoke(main, ["evaluate", "log.csv", "--sample", "50"])
    assert done.exit_code == 0
    assert done.stdout.startswith("50 next clicks of 360 clicks on 2 articles, from 2017-10-09 ")
    assert "counter of the last hour" in done.stdout
    assert "margin over" in done.stdout


def test_the_contenders_are_drawn_beside_each_other(run: CliRunner, tmp_path: Path) -> None:
    """A line for each, as SVG that an XML reader takes."""
    (tmp_path / "log.csv").write_text(make_log())
    done = run.invoke(main, ["evaluate", "log.csv", "--picture", "figures.svg"])
    assert done.exit_code == 0
    root = fromstring((tmp_path / "figures.svg").read_text())
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4

    done = run.invoke(main, ["evaluate", "log.csv", "--picture", "no/such/folder.svg"])
    assert (done.exit_code, "No such file" in done.stderr) == (2, True)


def test_bad_rows_are_told_by_their_line_and_kept(run: CliRunner, tmp_path: Path) -> None:
    """And the good ones are evaluated; the exit code tells of the bad ones."""
    (tmp_path / "log.csv").write_text(make_log() + "soon,7,10,1\n")
    done = run.invoke(main, ["evaluate", "log.csv", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["rejected"] == 1
    assert "line 362: ts is 'soon', and not a whole number from 0 on" in done.stderr
    (kept,) = (tmp_path / "var" / "import" / "log.csv.rejects.jsonl").read_text().splitlines()
    assert json.loads(kept)["line"] == 362


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, [], "log.csv: No such file or directory"),
        ("a,b\n1,2\n", [], "log.csv: the first line has no column called ts"),
        (HEADER, [], "log.csv: there is no click in it"),
        (make_log(), ["--since", "2020-01-01"], "no session goes on between 2020-01-01 00:00Z"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    run: CliRunner, tmp_path: Path, content: str | None, arguments: list[str], said: str
) -> None:
    """Exit code 2."""
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    done = run.invoke(main, ["evaluate", "log.csv", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_last_choice_of_each_reader_is_found_by_what_went_with_the_others(
    run: CliRunner, tmp_path: Path
) -> None:
    """Two kinds of readers, who each read one half of the articles."""
    rows = []
    for reader in range(1, 61):
        half = 100 * (reader % 2)
        for place in range(6):
            article = half + (reader * 7 + place) % 12 + 1
            rows.append(f"{1_507_600_800 + 10 * reader + place},{reader},{article},")
    (tmp_path / "log.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    done = run.invoke(main, ["evaluate", "log.csv", "--protocol", "leave-last-out", "--json"])
    assert done.exit_code == 0
    ours, popular = json.loads(done.stdout)["contenders"]
    assert (ours["name"], ours["questions"]) == ("collaborative", 60)
    assert ours["hit@10"]["value"] > 0.9
    assert ours["ndcg@10"]["value"] > popular["ndcg@10"]["value"]


def make_pages(rate_of: dict[int, float]) -> str:
    """A thousand pages of three articles, each clicked as often as it is said."""
    random = Random(1)
    lines = ["ts,user_id,article_id,event,session_id\n"]
    for page in range(1, 1001):
        for article in random.sample(sorted(rate_of), 3):
            start = f"{1_507_600_800 + page},{page},{article}"
            lines.append(f"{start},exposure,{page}\n")
            if random.random() < rate_of[article]:
                lines.append(f"{start},click,{page}\n")
    return "".join(lines)


def test_pages_are_judged_by_the_click_rates_before_them(run: CliRunner, tmp_path: Path) -> None:
    """Rates that differ are found, and where all are alike no order is better than another."""
    (tmp_path / "log.csv").write_text(make_pages({10: 0.8, 20: 0.4, 30: 0.1, 40: 0.05}))
    done = run.invoke(main, ["evaluate", "log.csv", "--protocol", "impressions", "--json"])
    assert done.exit_code == 0
    for contender in json.loads(done.stdout)["contenders"]:
        assert contender["auc"]["value"] > 0.75
        assert contender["ndcg"]["value"] > 0.85

    (tmp_path / "log.csv").write_text(make_pages({10: 0.3, 20: 0.3, 30: 0.3, 40: 0.3}))
    done = run.invoke(main, ["evaluate", "log.csv", "--protocol", "impressions", "--json"])
    for contender in json.loads(done.stdout)["contenders"]:
        assert contender["auc"]["low"] - 0.03 < 0.5 < contender["auc"]["high"] + 0.03


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("leave-last-out", "no reader has chosen 5 articles"),
        ("impressions", "there is no page with a click and something that was not clicked"),
    ],
)
def test_a_log_that_does_not_fit_its_protocol_is_told_so(
    run: CliRunner, tmp_path: Path, protocol: str, said: str
) -> None:
    (tmp_path / "log.csv").write_text(make_log())
    done = run.invoke(main, ["evaluate", "log.csv", "--protocol", protocol])
    assert (done.exit_code, done.stderr) == (2, f"tidings: log.csv: {said}\n")
