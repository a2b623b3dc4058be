"""What serves needs nothing of the extra `[train]`."""

from __future__ import annotations

import subprocess
import sys

SERVING = "services.recommender.app, services.recommender.commands.models"
TRAINING = "{'lightgbm', 'duckdb', 'scipy'}"


def test_serving_imports_no_library_that_trains() -> None:
    code = (
        f"import sys, {SERVING}, services.recommender.commands.train; "
        f"print(sorted({TRAINING} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
