"""A program that is to end by itself.

done = run_to_end([TIDINGS, "jobs", "dead"], tmp_path, environment)
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_S = 60


def run_to_end(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Its exit code and what it printed, run in `folder`.

    Raises:
        subprocess.TimeoutExpired: it has not ended within a minute.
    """
    return subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
