"""`tidings up` beside real stores: what it cannot use is one line, and nothing is left running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab.servers import free_port

Environment = Callable[..., dict[str, str]]
UP = [sys.executable, "-c", "from tidings.commands.main import main; main()", "up", "--no-demo"]


def test_a_database_that_does_not_answer_is_named_without_its_password(
    environment: Environment, redis_url: str, tmp_path: Path
) -> None:
    """The setting, the server and the driver's reason on one line with exit code 2; a traceback
    helps no operator."""
    url = f"mysql+pymysql://me:secret@127.0.0.1:{free_port()}/tidings"
    done = subprocess.run(
        UP,
        env=environment(redis_url=redis_url, database_url=url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = done.stderr.splitlines()

    assert done.returncode == 2
    assert done.stdout == f"site {tmp_path / 'var'}, a new one\n"
    assert "tidings: TIDINGS_DATABASE_URL: cannot use mysql+pymysql://me:***@127.0.0.1" in line
    assert "secret" not in line
