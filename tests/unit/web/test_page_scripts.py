"""The rules of the page's scripts, tested in the language they are written in: node's own runner is
asked, with sockets and a clock that are told what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.servers import find_program

HERE = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_the_scripts_keep_their_rules(path: Path) -> None:
    done = subprocess.run(
        [find_program("node"), "--test", "--test-reporter=tap", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "\nok 1 - " in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
