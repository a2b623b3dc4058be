"""The part of `make faults-gateway` that is about money: equal orders, hoarders, crowds, and two
thousand mixed operations while the shop's programs are killed; and programs with mistakes, which
have to be noticed.

It has a table of its own, since what counts here is not how many were served but that nothing is
wrong.

    SEED=7 python -m bench.faults_gateway_money     this part alone; the same numbers are drawn
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.money_invariants import INVARIANTS
from tests.faults.money_scenarios import SCENARIOS, TEETH, Trial, run
from tests.lab.servers import start_mariadb, start_redis

# A mistake shows itself in a tenth of the rounds.
MISTAKE_SCALE = 0.1


def measure() -> dict[str, int]:
    """Run all of it; how often each invariant was violated, and which numbers stand behind it."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    total: Counter[str] = Counter()
    missed = []
    print(f"\nSEED={seed}", flush=True)
    with start_mariadb() as database, start_redis("--appendonly", "yes") as redis_server:
        for name in (*SCENARIOS, *TEETH):
            began_s = time.monotonic()
            scale = 1.0 if name in SCENARIOS else MISTAKE_SCALE
            with tempfile.TemporaryDirectory() as folder:
                trial = run(
                    name, database, redis_server, seed=seed, folder=Path(folder), scale=scale
                )
            if name in SCENARIOS:
                total += trial.found
                total += _count(trial)
            elif not trial.found[TEETH[name].invariant]:
                missed.append(name)
            kind = "scenario" if name in SCENARIOS else "mistake"
            print(
                f"{kind:10}{name:36}{time.monotonic() - began_s:5.0f} s  "
                f"{trial.about} {trial.tell()}",
                flush=True,
            )
    print(f"mistakes not noticed: {missed or 'none'}", flush=True)
    return {
        **{name: total[name] for name in (*INVARIANTS, *COUNTED)},
        "mistakes": len(TEETH),
        "mistakes_missed": len(missed),
    }


COUNTED = ("rounds", "operations", "kills", "orders_placed", "callbacks", "refunds_given")


def _count(trial: Trial) -> Counter[str]:
    bank = trial.shop.bank
    return Counter(
        rounds=trial.about.get("rounds", 0),
        operations=trial.about.get("operations", 0),
        kills=trial.about.get("kills", 0),
        orders_placed=len(trial.told.placed),
        callbacks=len(bank.events),
        refunds_given=len(bank.books.given_back),
    )


if __name__ == "__main__":
    figures = measure()
    print(figures)
    sys.exit(any(figures[name] for name in (*INVARIANTS, "mistakes_missed")))
