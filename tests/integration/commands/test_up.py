"""`tidings up` where it cannot run: one line, exit code 2, and nothing left running or half
made."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.programs import run_to_end
from tests.lab.servers import free_port

Environment = Callable[..., dict[str, str]]
GiveUp = Callable[[dict[str, str]], str]
UP = [sys.executable, "-c", "from tidings.commands.main import main; main()", "up", "--no-demo"]


def test_a_database_that_does_not_answer_is_named_without_its_password(
    environment: Environment, redis_url: str, tmp_path: Path
) -> None:
    """The setting, the server and the driver's reason on one line with exit code 2; a traceback
    helps no operator."""
    url = f"mysql+pymysql://me:secret@127.0.0.1:{free_port()}/tidings"
    done = run_to_end(UP, tmp_path, environment(redis_url=redis_url, database_url=url))
    (line,) = done.stderr.splitlines()

    assert done.returncode == 2
    assert done.stdout == f"site {tmp_path / 'var'}, a new one\n"
    assert "tidings: TIDINGS_DATABASE_URL: cannot use mysql+pymysql://me:***@127.0.0.1" in line
    assert "secret" not in line


@pytest.fixture
def give_up(tmp_path: Path) -> GiveUp:
    """The one line on which the command gives up before it has said a word."""

    def run(environment: dict[str, str]) -> str:
        done = run_to_end(UP, tmp_path, environment)
        (line,) = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (2, "")
        return line

    return run


def test_a_misspelt_payment_provider_is_named_before_anything_starts(
    give_up: GiveUp, environment: Environment, tmp_path: Path
) -> None:
    line = give_up(environment(payment_provider="sandbxo"))

    assert "TIDINGS_PAYMENT_PROVIDER: expected one of" in line
    assert "'sandbxo'" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ["gateway_bind", "recommender_bind", "jobs_metrics_bind"])
def test_a_port_in_use_is_named_before_anything_starts(
    give_up: GiveUp, environment: Environment, tmp_path: Path, setting: str
) -> None:
    """Which setting and which address; no key, no database and no process was made for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        line = give_up(environment(**{setting: taken}))

    assert line == (
        f"tidings: TIDINGS_{setting.upper()}: cannot listen on {taken}: another program listens "
        "there"
    )
    assert list((tmp_path / "var").iterdir()) == []


def test_an_unwritable_folder_is_named(
    give_up: GiveUp, environment: Environment, tmp_path: Path
) -> None:
    """VAR_DIR below a file can be made by no user, root included."""
    (tmp_path / "file").touch()

    assert "tidings: TIDINGS_VAR_DIR: cannot write in" in give_up(
        environment(var_dir=tmp_path / "file" / "var")
    )
