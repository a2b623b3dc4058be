"""A program that cannot start says why on one line that names what to change, with exit code 2;
never a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import MakeSettings
from tests.lab.programs import run_to_end
from tests.lab.servers import free_port
from tidings.process.errors import EXIT_CANNOT_START
from tidings.store.engine import make_engine, transaction

Environment = Callable[..., dict[str, str]]
RunRecommender = Callable[[dict[str, str]], str]

NO_CODEC = """
import sys
class NoCodec:
    def find_spec(self, name, path=None, target=None):
        if name == "thrift.protocol.fastbinary":
            raise ImportError(name)
sys.meta_path.insert(0, NoCodec())
"""


@pytest.fixture
def taken() -> Iterator[str]:
    """An address on which another process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A folder that no user can make, root included: its parent is a file."""
    file = tmp_path / "file"
    file.touch()
    return file / "var"


@pytest.fixture
def run_recommender(tmp_path: Path) -> RunRecommender:
    """The one line on which a recommender gives up; the test fails unless there is one, with exit
    code 2."""

    def run(environment: dict[str, str]) -> str:
        done = run_to_end([sys.executable, "-m", "services.recommender"], tmp_path, environment)
        (line,) = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (EXIT_CANNOT_START, "")
        assert line.startswith("recommender: ")
        return line

    return run


def test_a_recommender_without_keys_says_how_to_make_one(
    run_recommender: RunRecommender, environment: Environment, sqlite_url: str
) -> None:
    """The setting is named, and the command that makes a key."""
    line = run_recommender(environment(secret_keys=()))

    assert "TIDINGS_SECRET_KEYS: not set" in line
    assert "openssl rand -hex 32" in line


def test_a_folder_that_cannot_be_written_is_named(
    run_recommender: RunRecommender, environment: Environment, below_a_file: Path
) -> None:
    """An unwritable VAR_DIR is found at start and not with the first file."""
    assert f"TIDINGS_VAR_DIR: cannot write in {below_a_file}" in run_recommender(
        environment(var_dir=below_a_file)
    )


def test_a_database_of_another_kind_is_refused_with_those_that_would_do(
    run_recommender: RunRecommender, environment: Environment
) -> None:
    """The driver is named beside those there are; the URL, which has a password in it, is not
    shown."""
    line = run_recommender(
        environment() | {"TIDINGS_DATABASE_URL": "postgresql://me:secret@db/tidings"}
    )

    assert "TIDINGS_DATABASE_URL" in line
    assert "mysql+pymysql" in line
    assert "secret" not in line


def test_a_database_that_does_not_answer_is_named_without_its_password(
    run_recommender: RunRecommender, environment: Environment
) -> None:
    """Which server, and what the driver said; not with what it was tried."""
    url = f"mysql+pymysql://me:secret@127.0.0.1:{free_port()}/tidings"
    line = run_recommender(environment(database_url=url))

    assert "TIDINGS_DATABASE_URL: cannot use mysql+pymysql://me:***@127.0.0.1" in line
    assert "secret" not in line


def test_a_database_file_that_cannot_be_made_is_named(
    run_recommender: RunRecommender, environment: Environment, below_a_file: Path
) -> None:
    """SQLite's folder is made at start, and may be just as unwritable as VAR_DIR."""
    line = run_recommender(environment(database_url=f"sqlite:///{below_a_file}/tidings.db"))

    assert "TIDINGS_DATABASE_URL: cannot use" in line


def test_an_older_schema_says_what_to_run(
    run_recommender: RunRecommender,
    environment: Environment,
    sqlite_url: str,
    make_settings: MakeSettings,
) -> None:
    """Revision found, revision needed, and the command that gets from one to the other."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    with transaction(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    line = run_recommender(environment(database_url=sqlite_url))

    assert "revision 0001" in line
    assert "run `tidings migrate`" in line


@pytest.mark.parametrize("setting", ["recommender_bind", "recommender_metrics_bind"])
def test_a_port_in_use_is_named_with_its_setting(
    run_recommender: RunRecommender,
    environment: Environment,
    sqlite_url: str,
    taken: str,
    setting: str,
) -> None:
    """Which address, and which setting would change it."""
    line = run_recommender(environment(**{"database_url": sqlite_url, setting: taken}))

    assert f"TIDINGS_{setting.upper()}: cannot listen on {taken}" in line


def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant(
    run_recommender: RunRecommender, environment: Environment
) -> None:
    """A setting that no process reads would be found out only when it was needed."""
    line = run_recommender(environment() | {"TIDINGS_RECOMENDER_BIND": "127.0.0.1:9090"})

    assert (
        "TIDINGS_RECOMENDER_BIND: there is no such setting; did you mean TIDINGS_RECOMMENDER_BIND?"
        in line
    )


def test_a_missing_c_codec_is_said_at_start(
    run_recommender: RunRecommender, environment: Environment, sqlite_url: str, tmp_path: Path
) -> None:
    """Trap: Thrift falls back to its codec in Python without a word, and everything is twenty times
    slower."""
    (tmp_path / "sitecustomize.py").write_text(NO_CODEC)
    line = run_recommender(environment(database_url=sqlite_url) | {"PYTHONPATH": str(tmp_path)})

    assert "Thrift's C codec is missing" in line


@pytest.mark.parametrize("module", ["gateway", "jobs", "services.recommender"])
def test_a_program_says_what_it_is_and_where_its_settings_are(module: str) -> None:
    """Trap: the first thing that is typed at an unknown program is `--help`."""
    asked = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    refused = subprocess.run(
        [sys.executable, "-m", module, "--port=80"], capture_output=True, text=True, check=False
    )

    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith(f"usage: python -m {module}")
    assert "TIDINGS_*" in asked.stdout
    assert "until SIGTERM" in asked.stdout
    assert refused.returncode == 2
    assert "unrecognized arguments: --port=80" in refused.stderr
