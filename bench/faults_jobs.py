"""Every fault that orders and delayed jobs must survive, and the wrong daemons that must be caught, in one table.

FULL=1 python -m bench.faults_jobs     forty seconds of load for each fault instead of six
SEED=7 python -m bench.faults_jobs     repeats a run
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, TEETH, run
from tests.faults.world import servers

OUTPUT = Path("var/bench/faults-jobs.json")


def main() -> int:
    """Run them all; the exit code is 1 if an invariant was violated or a wrong daemon passed for right."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    load_s = 40.0 if os.environ.get("FULL") else 6.0
    total: Counter[str] = Counter()
    missed = []
    print(f"SEED={seed}, {load_s:.0f} s of load each", flush=True)
    with servers() as site, tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate((*SCENARIOS, *TEETH)):
            place = Path(folder) / str(number)
            place.mkdir()
            violations = run(name, *site, seed=seed, folder=place, load_s=load_s)
            if name in SCENARIOS:
                total += violations
            elif not violations:
                missed.append(name)
            print(f"{'fault' if name in SCENARIOS else 'wrong daemon':14}{name:40}{dict(violations)}", flush=True)
    figures = {
        "faults": len(SCENARIOS),
        "violations": total.total(),
        "wrong_daemons": len(TEETH),
        "wrong_daemons_missed": len(missed),
        **{f"I{number}": total[f"I{number}"] for number in range(1, 9)},
        "_about": {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "seed": seed, "load_s": load_s},
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{total.total()} violations; not caught: {missed or 'none'}; written to {OUTPUT}")
    return 1 if total or missed else 0


if __name__ == "__main__":
    sys.exit(main())
