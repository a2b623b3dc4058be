"""Builds the clients in examples/, one build at a time: tests run side by side in several
processes, and two builds would delete each other's files half-way.

    make_example("node")
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path

from tests.lab.servers import find_program

ROOT = Path(__file__).parent.parent.parent
BUILD_TIMEOUT_S = 240


def make_example(
    *arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`make -C examples` with these arguments, whatever its exit code."""
    command = [find_program("make"), "--no-print-directory", "-C", "examples", *arguments]
    lock = Path(tempfile.gettempdir()) / f"tidings-examples-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
