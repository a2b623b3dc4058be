"""Every fault that two nodes of the chat must survive while readers chat through them, in one
table.

FULL=1 python -m bench.faults_chat     twenty seconds of each fault instead of six
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

from tests.faults.chat_mutants import MUTANTS, make_mutant
from tests.faults.chat_scenarios import SCENARIOS, Outcome, find_mistake, open_site, run

SOCKETS = 5_000
MISTAKE_S = 3.0
NAMES = (
    "lost",
    "doubled",
    "out_of_order",
    "never_stored",
    "wrong_unread",
    "let_in",
    "shed_too_fast",
    "unanswered",
)
OUTPUT = Path("var/bench/faults-chat.json")


def main() -> int:
    """Run them all; the exit code is 1 if anything was violated or a mistake was missed."""
    load_s = 20.0 if os.environ.get("FULL") else 6.0
    total, broken = Counter[str](), Counter[str]()
    figures: dict[str, float] = {}
    print(
        f"{'fault':34}{'struck':>8}{'acked':>8}{'shown':>8}{'again':>7}{'sockets':>9}"
        f"{'recovered':>11}{'loaded anew':>13}  violations",
        flush=True,
    )
    for name in SCENARIOS:
        outcome = _run(name, load_s)
        broken += outcome.violations
        figures |= outcome.figures
        total += Counter(faults=outcome.faults, acked=outcome.acked, shown=outcome.shown)
        print(
            f"{name:34}{outcome.faults:8}{outcome.acked:8}{outcome.shown:8}{outcome.repeats:7}"
            f"{outcome.reconnects:9}{outcome.recovered:11}{outcome.reloads:13}"
            f"  {dict(outcome.violations) or 'none'}",
            flush=True,
        )
    missed = [name for name in MUTANTS if not _is_caught(name)]
    written = {
        "faults": total["faults"],
        "violations": broken.total(),
        **{name: broken[name] for name in NAMES},
        "acked": total["acked"],
        "shown": total["shown"],
        "mistakes_missed": len(missed),
        **{name: round(value, 3) for name, value in figures.items()},
        "_about": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "load_1m": round(os.getloadavg()[0], 2),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_s": load_s,
            "sockets": SOCKETS,
        },
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(written, indent=2) + "\n")
    print(f"{broken.total()} violations, mistakes missed: {missed or 'none'}; written to {OUTPUT}")
    return 1 if broken or missed else 0


def _is_caught(name: str) -> bool:
    mutant = MUTANTS[name]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        tree = make_mutant(name, folder / "tree")
        with open_site(folder, SCENARIOS[mutant.scenario], tree=tree) as opened:
            outcome = find_mistake(mutant, opened, MISTAKE_S)
    told = f"caught  {dict(outcome.violations)}" if outcome else "MISSED"
    print(f"{name:34}  {told}", flush=True)
    return outcome is not None


def _run(name: str, load_s: float) -> Outcome:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_site(Path(folder), SCENARIOS[name]) as opened,
    ):
        return run(name, opened, load_s, sockets=SOCKETS)


if __name__ == "__main__":
    sys.exit(main())
