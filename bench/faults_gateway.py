"""Every crowd and every rude client that the gateway must hold out against, in one table: what a
reader beside them was served, how late, and what it cost in memory.

"late" is as the clients saw it, and "core" how much of the time in which the gateway could have run
it had one. What is late since other programs had the cores is no violation.

FULL=1 python -m bench.faults_gateway     forty seconds of each instead of ten, and ten minutes of
                                          mixed load by locust
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from bench import faults_gateway_money, gateway_soak
from tests.faults.gateway_scenarios import DEADLINE_MS, LATE_S, SCENARIOS, Outcome, run
from tests.faults.money_invariants import INVARIANTS
from tests.faults.money_scenarios import SCENARIOS as MONEY
from tests.lab.servers import MariaDBServer, start_mariadb

SOAK_S = 600.0
OUTPUT = Path("var/bench/faults-gateway.json")
SLOW = ("dripping heads", "stalled bodies", "never reading", "idle")


def main() -> int:
    """Run them all; the exit code is 1 if anything was violated."""
    is_long = bool(os.environ.get("FULL"))
    load_s = 40.0 if is_long else 10.0
    outcomes: dict[str, Outcome] = {}
    violations = Counter[str]()
    print(
        f"{'clients':46}{'served':>8}{'late':>7}{'others asked':>14}{'late':>7}{'shed':>7}"
        f"{'RSS MiB':>12}{'core':>6}  violations",
        flush=True,
    )
    with ExitStack() as stack:

        @cache
        def mariadb() -> MariaDBServer:
            return stack.enter_context(start_mariadb())

        for name in SCENARIOS:
            with tempfile.TemporaryDirectory() as folder:
                outcome = run(name, Path(folder), load_s, lambda: mariadb().new_database())
            outcomes[name] = outcome
            violations += outcome.violations
            _tell(name, outcome)
    money = faults_gateway_money.measure()
    violations += Counter({name: money[name] for name in (*INVARIANTS, "mistakes_missed")})
    soak = gateway_soak.measure(SOAK_S) if is_long else {}
    violations += Counter({name: int(soak.get(f"soak_{name}", 0)) for name in gateway_soak.NAMES})
    crowds = [outcomes[name].others for name in SCENARIOS if SCENARIOS[name].kind == "a crowd"]
    slow = [outcomes[name].reader for name in SCENARIOS if SCENARIOS[name].kind in SLOW]
    figures = {
        "faults": len(SCENARIOS) + len(MONEY),
        "violations": violations.total(),
        "overload_late_share": round(max(seen.late_share for seen in crowds), 4),
        "overload_shed_share": round(max(seen.shed_share for seen in crowds), 4),
        "slow_clients_served_share": round(min(seen.served_share for seen in slow), 4),
        "served_share": round(min(one.reader.served_share for one in outcomes.values()), 4),
        "late_share": round(max(one.reader.late_share for one in outcomes.values()), 4),
        "rss_growth_mib": round(
            max(one.rss_mib[1] - one.rss_mib[0] for one in outcomes.values()), 1
        ),
        "core_share": round(min(one.core_share for one in outcomes.values()), 2),
        "deadline_ms": DEADLINE_MS,
        **money,
        **soak,
        "_about": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "load_1m": round(os.getloadavg()[0], 2),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_s": load_s,
            "late_is_over_s": LATE_S,
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{violations.total()} violations; written to {OUTPUT}")
    return 1 if violations else 0


def _tell(name: str, outcome: Outcome) -> None:
    reader, others = outcome.reader, outcome.others
    before, after = outcome.rss_mib
    print(
        f"{name:46}{reader.served_share:8.1%}{reader.late_share:7.1%}{others.asked:14,}"
        f"{others.late_share:7.1%}{others.shed_share:7.1%}{before:6.0f}{after:6.0f}"
        f"{outcome.core_share:6.0%}"
        f"  {dict(outcome.violations) or 'none'}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
