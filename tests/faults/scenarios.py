"""What is run against what: every fault with the daemons it is meant for, and each wrong daemon
with its fault.

`run` opens a shop, lets the fault have its time, waits for the site to come to rest and counts the
violations. Right and wrong daemons are judged by the same `run`. A short run gives a fault just the
time to strike several times.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import faults
from tests.faults.world import HOT_SKU, FakedClockMariaDB, World, faketime_env, world
from tests.faults.wrong import MISTAKES
from tests.lab.servers import RedisServer

LONG_S = 40.0
# How long orders may stay unpaid: in the short form, in the long one, and where hints are to
# matter.
SHORT_TIMEOUT_S, TIMEOUT_S, HINTED_TIMEOUT_S = 2.0, 3.0, 0.9
# Some wrong daemons never come to rest; right ones take three seconds.
SETTLE_WRONG_S = 8.0
BEFORE_THE_CHANGE = timedelta(seconds=5)


@dataclass(frozen=True)
class Scenario:
    """Daemons, and what is done to them.

    Args:
        start: adds the daemons.
        fault: breaks things until it is told to stop.
        load_s: what it needs to strike several times.
        timeout_s: how long orders stay unpaid, if that matters to the fault.
        shop: how readers differ from the usual ones.
    """

    start: Callable[[World], None]
    fault: faults.Fault
    load_s: float = 4.0
    timeout_s: float | None = None
    shop: Mapping[str, Any] = field(default_factory=dict)


def start_daemons(n: int) -> Callable[[World], None]:
    return lambda world: world.add_daemons(n)


def start_skewed(*offsets: str) -> Callable[[World], None]:
    """One daemon with a right clock in an odd time zone, and one for each wrong clock."""

    def start(world: World) -> None:
        world.add_daemons(1, TZ="Europe/Berlin")
        for offset in offsets:
            world.add_daemons(
                1, before=["env", *faketime_env(FAKETIME=offset)], TZ="America/New_York"
            )

    return start


def start_in_changing_nights(world: World) -> None:
    """A daemon for either night in which clocks in Berlin change, begun just before they do."""
    for change in (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)):
        offset_s = (change - BEFORE_THE_CHANGE - datetime.now(UTC)).total_seconds()
        world.add_daemons(
            1, before=["env", *faketime_env(FAKETIME=f"{offset_s:+.0f}")], TZ="Europe/Berlin"
        )


def start_two_versions(world: World) -> None:
    """Today's daemon beside one that knows only the kind that today's calls by its old name."""
    world.add_daemons(1)
    world.add_daemons(1, module=("tests.faults.older",))


def start_behind_a_cutter(world: World) -> None:
    world.cut_commits()
    world.add_daemons(2)


def start_wrong(mistake: str) -> Callable[[World], None]:
    return lambda world: world.add_daemons(2, module=("tests.faults.wrong", mistake))


# 32 readers in four gateways, who pay for nothing.
CROWD = {"shops": 4, "placers": 8, "orders_per_s": 40.0, "products": [HOT_SKU], "followed": 0.0}

SCENARIOS: dict[str, Scenario] = {
    "nothing, one daemon": Scenario(start_daemons(1), faults.nothing),
    "nothing, two daemons": Scenario(start_daemons(2), faults.nothing),
    "nothing, four daemons": Scenario(start_daemons(4), faults.nothing),
    "one hot product, 32 clients": Scenario(
        start_daemons(2), faults.sell_out, timeout_s=HINTED_TIMEOUT_S, shop=CROWD, load_s=6
    ),
    "10,000 due in one second": Scenario(start_daemons(1), faults.burst, load_s=6),
    "kill -9 daemons": Scenario(start_daemons(2), faults.kill_daemons, load_s=6),
    "kill -9 the only daemon": Scenario(start_daemons(1), faults.kill_daemons, load_s=6),
    "kill -9 and KILL before the commit": Scenario(
        start_daemons(2), faults.kill_while_it_waits, load_s=6
    ),
    "SIGTERM in a batch": Scenario(start_daemons(2), faults.terminate_daemons, load_s=6),
    "kill -9 MariaDB": Scenario(start_daemons(2), faults.kill_database, load_s=8),
    "lose Redis": Scenario(
        start_daemons(1), faults.lose_redis, load_s=5, timeout_s=HINTED_TIMEOUT_S
    ),
    "KILL connections": Scenario(start_daemons(2), faults.kill_connections),
    "cut connections at COMMIT": Scenario(start_behind_a_cutter, faults.cut_commits),
    "freeze daemons": Scenario(start_daemons(2), faults.freeze_daemons, load_s=10),
    "daemon clocks +1 h, -1 h, -1 d, +1 y": Scenario(
        start_skewed("+1h", "-1h", "-1d", "+1y"), faults.nothing
    ),
    "nights when clocks change": Scenario(start_in_changing_nights, faults.nothing, load_s=6),
    "database clock +1 h, -1 h": Scenario(start_daemons(2), faults.set_database_clock, load_s=7),
    "poison and unknown kinds": Scenario(start_daemons(1), faults.poison),
    "two versions": Scenario(start_two_versions, faults.nothing),
    "kill -9 the gateway": Scenario(
        start_daemons(1), faults.kill_shop, load_s=5, timeout_s=HINTED_TIMEOUT_S
    ),
    "read-only database": Scenario(start_daemons(2), faults.make_read_only, load_s=5),
    "no connections": Scenario(start_daemons(2), faults.exhaust_connections, load_s=5),
    "all at once": Scenario(start_daemons(3), faults.everything, load_s=8),
}
# What brings each mistake to light, for certain: nothing here is left to the luck of a kill.
TEETH: dict[str, Scenario] = {
    "unchecked": Scenario(start_wrong("unchecked"), faults.nothing),
    "deletes_first": Scenario(start_wrong("deletes_first"), faults.kill_while_it_waits),
    "own_clock": Scenario(start_wrong("own_clock"), faults.nothing),
    "stock_outside": Scenario(start_wrong("stock_outside"), faults.kill_while_it_waits),
    "hints": Scenario(start_wrong("hints"), faults.lose_redis, timeout_s=HINTED_TIMEOUT_S),
}
assert set(TEETH) == set(MISTAKES)


def run(
    name: str,
    database: FakedClockMariaDB,
    redis_server: RedisServer,
    *,
    seed: int,
    folder: Path,
    is_long: bool,
) -> Counter[str]:
    """Violations by invariant of one scenario, or of one wrong daemon under the fault that fits
    it."""
    scenario = (SCENARIOS | TEETH)[name]
    timeout_s = scenario.timeout_s or (TIMEOUT_S if is_long else SHORT_TIMEOUT_S)
    make_world = partial(
        world, database, redis_server, seed=seed, folder=folder, timeout_s=timeout_s
    )
    with make_world() as made:
        scenario.start(made)
        made.open_shop(**scenario.shop)
        made.wait_until_open()
        timer = threading.Timer(LONG_S if is_long else scenario.load_s, made.stopping.set)
        timer.start()
        found: Counter[str] = Counter()
        try:
            scenario.fault(made)
        except AssertionError:
            if name not in TEETH:
                raise
            found["I1"] += 1
        finally:
            timer.cancel()
        return found + (made.settle() if name in SCENARIOS else made.settle(SETTLE_WRONG_S))
