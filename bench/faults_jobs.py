"""Every fault that orders and delayed jobs must survive, and the wrong daemons that must be caught,
in one table.

FULL=1 python -m bench.faults_jobs     forty seconds of load for each fault instead of a few
SEED=7 python -m bench.faults_jobs     draws the numbers of that run again
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, TEETH, run
from tests.faults.world import servers

OUTPUT = Path("var/bench/faults-jobs.json")
# Orders that were lost, and stock that moved twice or not at all, among the invariants.
LOST, DOUBLED = ("I1", "I5", "I7"), ("I2", "I3")


def main() -> int:
    """Run them all; the exit code is 1 if an invariant was violated or a wrong daemon passed for
    right."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    is_long = bool(os.environ.get("FULL"))
    started = time.monotonic()
    total: Counter[str] = Counter()
    missed = []
    print(f"SEED={seed}", flush=True)
    with servers() as site, tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate((*SCENARIOS, *TEETH)):
            place = Path(folder) / str(number)
            place.mkdir()
            violations = run(name, *site, seed=seed, folder=place, is_long=is_long)
            if name in SCENARIOS:
                total += violations
            elif not violations:
                missed.append(name)
            print(
                f"{'fault' if name in SCENARIOS else 'wrong daemon':14}{name:40}{dict(violations)}",
                flush=True,
            )
    figures = {
        "faults": len(SCENARIOS),
        "violations": total.total(),
        "lost": sum(total[name] for name in LOST),
        "doubled": sum(total[name] for name in DOUBLED),
        **{f"I{number}": total[f"I{number}"] for number in range(1, 9)},
        "wrong_daemons": len(TEETH),
        "wrong_daemons_missed": len(missed),
        "_about": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "seed": seed,
            "is_long": is_long,
            "seconds": round(time.monotonic() - started),
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{total.total()} violations; not caught: {missed or 'none'}; written to {OUTPUT}")
    return 1 if total or missed else 0


if __name__ == "__main__":
    sys.exit(main())
