"""`tidings import articles` as an operator or a cron line meets it: the exit code, and the lines it
prints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from tests.integration.importing.conftest import Stored, make_row, write_jsonl
from tests.lab.newsroom import NOW_MS, Clock
from tests.lab.sites import PATIENT
from tests.lab.web import Web
from tidings.news.articles import Articles
from tidings.process.settings import Settings
from tidings.store.redis import make_redis

TIDINGS = str(Path(sys.executable).with_name("tidings"))
# `tidings ARGUMENTS` in batches of 10. In the third batch it says so, and waits for what the test
# does.
STOPS_IN_THE_THIRD_BATCH = """
import sys
from tidings.commands.main import main
from tidings.importing import loading

flush, batches = loading.Loader._flush, []

def flush_or_wait(self):
    batches.append(self)
    if len(batches) == 3:
        print("there", file=sys.__stdout__, flush=True)
        sys.stdin.read()
    flush(self)

loading.BATCH_ROWS = 10
loading.Loader._flush = flush_or_wait
main()
"""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The command is the same on every database."""
    return sqlite_url


@pytest.fixture
def command(environment: Callable[..., dict[str, str]], database_url: str, tmp_path: Path) -> Any:
    """Run it in a folder of one's own."""

    def run(*arguments: str, stdin: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TIDINGS, "import", "articles", *arguments],
            # Its servers are on this machine.
            env=environment(
                **{"database_url": database_url, "fetch_private_addresses": True}
                | {"redis_timeout_s": PATIENT["redis_timeout_s"]}
                | settings
            ),
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_when_everything_is_in_it_says_so_in_one_line(command: Any, tmp_path: Path) -> None:
    """Exit code 0, nothing on stderr: what cron likes."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(1), make_row(2)])
    done = command("a.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"a\.jsonl: 2 rows: 2 new, 0 changed, 0 unchanged, 0 rejected in [\d.]+ s\n", done.stdout
    )


def test_rejected_rows_are_exit_code_1(command: Any, tmp_path: Path) -> None:
    """The first few on stderr, all of them in the file that the last line names."""
    write_jsonl(
        tmp_path / "a.jsonl",
        [make_row(1), *(make_row(number, title="") for number in range(2, 12))],
    )
    done = command("a.jsonl")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"line {number}: title: missing" for number in range(2, 7)]
    rejects = Path(done.stdout.strip().partition("rejected rows: ")[2])
    assert rejects == tmp_path / "var" / "import" / "a.jsonl.rejects.jsonl"
    assert len(rejects.read_text().splitlines()) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a: No such file or directory"),
        (
            "hello",
            r"a: is neither JSONL, CSV .*; --format says which it is: jsonl, csv, feed, opml",
        ),
        ("[1]", r"a: is one JSON array.*"),
        ("<html>", r"a: begins with <html>, which is neither a feed nor OPML.*"),
    ],
)
def test_when_nothing_can_be_done_it_is_one_line_and_exit_code_2(
    command: Any, tmp_path: Path, content: str | None, message: str
) -> None:
    """Never a traceback."""
    if content is not None:
        (tmp_path / "a").write_text(content)
    done = command("a")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"tidings: {message}\n", done.stderr)


def test_a_database_of_another_age_is_one_line_and_exit_code_2(
    command: Any, tmp_path: Path
) -> None:
    """And says what to do."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(1)])
    done = command("a.jsonl", database_url=f"sqlite:///{tmp_path}/other.db")
    assert done.returncode == 2
    assert re.fullmatch(r"tidings: .*run `tidings migrate`\n", done.stderr)


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(
    command: Any, tmp_path: Path
) -> None:
    """Whether it is VAR_DIR itself or the folder within."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(1)])
    (tmp_path / "var" / "import").write_text("in the way")
    done = command("a.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"tidings: .*var/import: File exists\n", done.stderr)


def test_wrong_options_are_explained(command: Any) -> None:
    """By the command line itself, also with exit code 2."""
    assert "jsonl" in command("a", "--format", "xls").stderr
    done = command("a", "--channel", "...")
    assert done.returncode == 2
    assert "a channel's name needs a letter or a digit" in done.stderr


def test_standard_input_and_the_channel_option(command: Any, stored: Stored) -> None:
    """As the end of a pipe."""
    done = command("-", "--channel", "Sea", stdin='{"title": "T", "body": "B"}\n')
    assert done.returncode == 0
    assert [row.slug for row in stored.articles().values()] == ["sea"]


def test_an_address_on_the_command_line(command: Any, web: Web, stored: Stored) -> None:
    """Read with the same rules."""
    url = web.serve("/articles.csv", "title,body,channel\nT,B,news\n", "text/csv")
    assert command(url).returncode == 0
    assert stored.count() == 1


def test_two_at_once_on_one_file_are_both_fine(
    environment: Callable[..., dict[str, str]], database_url: str, tmp_path: Path, stored: Stored
) -> None:
    """Cron started it again before it had ended."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(number) for number in range(1500)])
    env = environment(database_url=database_url)
    children = [
        subprocess.Popen(
            [TIDINGS, "import", "articles", "a.jsonl"],
            env=env,
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outcomes = [(child.communicate(timeout=60)[1].decode(), child.returncode) for child in children]
    assert [code for _, code in outcomes] == [0, 0]
    assert not any("Traceback" in errors for errors, _ in outcomes)
    assert stored.count() == 1500
    assert stored.is_whole()


def test_ctrl_c_stops_it_and_the_next_run_continues(
    environment: Callable[..., dict[str, str]],
    database_url: str,
    tmp_path: Path,
    command: Any,
    stored: Stored,
) -> None:
    """In words, with the exit code that shells expect."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(number) for number in range(55)])
    with subprocess.Popen(
        [sys.executable, "-c", STOPS_IN_THE_THIRD_BATCH, "import", "articles", "a.jsonl"],
        env=environment(database_url=database_url) | {"FORCE_COLOR": "1"},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"there\n"
        child.send_signal(signal.SIGINT)
        shown = child.stderr.read()
        assert child.wait(60) == 130
    assert b"stopped; the same command continues where it was" in shown
    done = command("a.jsonl")
    assert done.returncode == 0
    assert re.search(r"55 rows: .* in [\d.]+ s, 20 of them by an earlier run\n", done.stdout)
    assert stored.count() == 55


def test_a_changed_article_is_shown_as_it_is_now(
    command: Any,
    tmp_path: Path,
    engine: Engine,
    redis_url: str,
    make_settings: Callable[..., Settings],
) -> None:
    """The card that was cached before the import goes with it."""
    articles = Articles(
        engine,
        make_redis(make_settings(redis_url=redis_url, **PATIENT).redis),
        card_ttl_s=300,
        clock=Clock(NOW_MS),
    )
    write_jsonl(tmp_path / "a.jsonl", [make_row(1)])
    command("a.jsonl", redis_url=redis_url)
    assert articles.cards([1])[1].title == "Title 1"

    write_jsonl(tmp_path / "a.jsonl", [make_row(1, title="Corrected")])
    done = command("a.jsonl", redis_url=redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert articles.cards([1])[1].title == "Corrected"


def test_without_redis_it_says_what_may_be_stale(
    command: Any, tmp_path: Path, redis_client: redis.Redis
) -> None:
    """Only if something changed; the import itself is fine."""
    write_jsonl(tmp_path / "a.jsonl", [make_row(1)])
    assert command("a.jsonl").stderr == ""
    write_jsonl(tmp_path / "a.jsonl", [make_row(1, title="Corrected")])
    done = command("a.jsonl")
    assert done.returncode == 0
    assert (
        done.stderr == "Redis does not answer: changed articles may show their old text for 300 s\n"
    )
