"""Programs whose wall clock is ahead or behind, while their waits stay as they are.

    command = ["env", *moved_clock(folder, 3600), "date"]  # an hour from now

libfaketime, which moves the clock of the suite's MariaDB, also takes on a program's waits, and
Python's `time.sleep` fails under it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.servers import find_program

SOURCE = Path(__file__).with_name("moved_clock.c")


def moved_clock(folder: Path, offset_s: float) -> list[str]:
    """The variables that move a program's clock by so many seconds.

    Args:
        folder: where the library is built.
    """
    library = folder / "moved_clock.so"
    if not library.exists():
        command = [find_program("gcc"), "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
    return [f"LD_PRELOAD={library}", f"CLOCK_OFFSET_S={offset_s:.0f}"]
