"""Every fault that calls to two recommenders must survive, under load, in one table.

FULL=1 python -m bench.faults_rpc     forty seconds of each fault instead of eight, and two
                                      workers a server as well
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.rpc_scenarios import (
    BUSY,
    FAULTS,
    NETWORK_FAULTS,
    PLANNED,
    can_split_networks,
    run,
)
from tests.faults.rpc_site import DEADLINE_MS

OUTPUT = Path("var/bench/faults-rpc.json")


def main() -> int:
    """Run them all; the exit code is 1 if anything was violated."""
    full = bool(os.environ.get("FULL"))
    load_s = 40.0 if full else 8.0
    if not can_split_networks():
        print("not root: packets are not dropped", file=sys.stderr)
    names = [*FAULTS, *(NETWORK_FAULTS if can_split_networks() else ())]
    total, wrong = Counter[str](), Counter[str]()
    p99_ms = 0.0
    print(
        f"{'fault':26}{'workers':>8}{'answered':>10}{'lost':>6}{'may lose':>10}{'p99 ms':>8}  "
        "violations",
        flush=True,
    )
    for workers in (1, 2) if full else (1,):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                outcome = run(name, Path(folder), load_s, workers=workers)
            seen = outcome.seen
            lost = seen.lost.total()
            total += Counter(
                faults=outcome.faults,
                answered=seen.answered,
                lost=lost,
                lost_planned=lost if name in PLANNED else 0,
                violations=outcome.violations.total(),
            )
            wrong += seen.wrong
            p99_ms = max(p99_ms, seen.p99_ms())
            print(
                f"{name:26}{workers:8}{seen.answered:10}{lost:6}{outcome.may_lose:10}{seen.p99_ms():8.0f}"
                f"  {dict(outcome.violations) or 'none'}",
                flush=True,
            )
    figures = {
        "faults": total["faults"],
        "violations": total["violations"],
        "answered": total["answered"],
        "lost": total["lost"],
        "lost_in_planned_restarts": total["lost_planned"],
        "doubled": wrong["doubled"],
        "of_another_reader": wrong["of another reader"],
        "torn": wrong["torn"],
        "late": wrong["late"],
        "p99_ms": round(p99_ms, 1),
        "deadline_ms": DEADLINE_MS,
        "_about": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "load_1m": round(os.getloadavg()[0], 2),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_s": load_s,
            "busy_readers": BUSY,
            "packets_dropped": can_split_networks(),
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {OUTPUT}")
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
