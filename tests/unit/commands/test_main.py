"""The `tidings` command: every failure one line and exit code 2, every sub-command listed wherever
it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.lab.servers import free_port
from tidings.commands.main import main
from tidings.process.settings import flat_names


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def one_line(result: Result) -> str:
    """The one line of a command that could not start; the test fails unless there is one, with exit
    code 2."""
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert line.startswith("tidings: ")
    return line


def test_migrate_makes_a_site_of_an_empty_folder(run: CliRunner, tmp_path: Path) -> None:
    """Twice in a row, and it says where the database stands."""
    first, second = run.invoke(main, ["migrate"]), run.invoke(main, ["migrate"])

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.output == second.output
    assert first.output.startswith("the database is at revision ")
    assert (tmp_path / "var" / "tidings.db").exists()


@pytest.mark.parametrize("command", ["migrate", "demo load", "settings", "up"])
def test_a_misspelt_setting_stops_every_command(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Before anything is done, with the setting that was probably meant."""
    monkeypatch.setenv("TIDINGS_DATABASE_ULR", "sqlite:///x.db")

    assert "did you mean TIDINGS_DATABASE_URL?" in one_line(run.invoke(main, command.split()))


@pytest.mark.parametrize("command", ["migrate", "demo load"])
def test_a_database_that_does_not_answer_is_one_line(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Naming the setting and the server, and not the password."""
    url = f"mysql+pymysql://me:secret@127.0.0.1:{free_port()}/tidings"
    monkeypatch.setenv("TIDINGS_DATABASE_URL", url)
    line = one_line(run.invoke(main, command.split()))

    assert "TIDINGS_DATABASE_URL: cannot use mysql+pymysql://me:***@127.0.0.1" in line
    assert "secret" not in line


@pytest.mark.parametrize("command", ["migrate", "demo load"])
def test_a_database_file_that_cannot_be_made_is_one_line(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """Its folder would have to be made below a file."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIDINGS_DATABASE_URL", f"sqlite:///{tmp_path}/file/tidings.db")

    assert "TIDINGS_DATABASE_URL: cannot use" in one_line(run.invoke(main, command.split()))


def test_the_demo_needs_a_migrated_database(run: CliRunner, tmp_path: Path) -> None:
    """Filling a site that has no tables says what to do first."""
    (tmp_path / "var").mkdir()

    assert "run `tidings migrate`" in one_line(run.invoke(main, ["demo", "load"]))


def test_settings_lists_every_setting_and_hides_the_keys(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its value and where that comes from; a secret is never printed."""
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", "s3cret" * 8)
    monkeypatch.setenv("TIDINGS_CARD_TTL_S", "77")
    result = run.invoke(main, ["settings"])

    assert result.exit_code == 0
    assert [name for name in flat_names() if f"TIDINGS_{name.upper()}" not in result.output] == []
    (row,) = [line for line in result.output.splitlines() if "TIDINGS_CARD_TTL_S" in line]
    assert "77" in row
    assert "environment" in row
    assert "s3cret" not in result.output


def test_settings_hides_whatever_is_secret(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed ends up in tickets: neither the password in a URL nor the payment provider's
    secret is in it."""
    monkeypatch.setenv("TIDINGS_DATABASE_URL", "mysql+pymysql://me:hunter2@db/tidings")
    monkeypatch.setenv("TIDINGS_REDIS_URL", "redis://:hunter2@cache/0")
    monkeypatch.setenv("TIDINGS_PAYMENT_SECRETS", "hunter2" * 5)

    assert "hunter2" not in run.invoke(main, ["settings"]).output


def test_every_process_adds_its_commands(run: CliRunner) -> None:
    """What an entry point offers is listed beside what is built in, and an unknown command is told
    apart."""
    listed = run.invoke(main, ["--help"]).output
    for command in ("articles", "channels", "demo", "import", "jobs", "migrate", "settings", "up"):
        assert f"\n  {command} " in listed

    assert "No such command 'nonsense'" in run.invoke(main, ["nonsense"]).output


@pytest.mark.parametrize(
    "words",
    [
        ("articles", "show"),
        ("articles", "take-down"),
        ("products", "withdraw"),
        ("refunds", "retry"),
        ("jobs", "show"),
        ("jobs", "retry"),
        ("products", "receive", "1", "1", "--delivery"),
    ],
)
def test_a_number_that_no_row_can_have_is_refused_in_words(words: tuple[str, ...]) -> None:
    """A database asked for it would answer with a traceback."""
    refused = CliRunner().invoke(main, [*words, "9" * 23])

    assert refused.exit_code == 2
    assert "Error: Invalid value for" in refused.output
