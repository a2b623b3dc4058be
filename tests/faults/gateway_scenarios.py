"""What clients can do to a gateway, and what a reader who does nothing of the kind notices of it.

The readers of a household come from another address and ask ten times a second, whether the answer
before came or not; so a door that is shut for a second costs ten answers, and not one.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.faults.gateway_clients import running
from tests.faults.gateway_site import (
    PRODUCT,
    GatewaySite,
    returned_readers,
    rows_locked,
    seen_batch,
    start_gateway,
)
from tests.faults.gateway_wire import Plan, Seen
from tests.faults.stolen_time import in_line_s
from tests.lab.servers import wait_until
from tests.lab.sites import UNLIMITED
from tidings.process.errors import PREFIX

DEADLINE_MS = 2000
LATE_S = DEADLINE_MS / 1000 + 0.2
ASKED_PER_SECOND = 10
SLICE_S = 0.1
# What was asked of this gateway: a reader is served 95 of 100 times, and told late once in 100.
LEAST_SERVED, MOST_LATE = 0.95, 0.01
# A gateway that other programs keep from its cores for longer than it runs has to shed more: half
# of what is served otherwise is asked of it then.
MOSTLY = 0.5
# Thirteen hundred connections at 4 KiB are 5 MiB; the rest is what an allocator keeps.
MOST_GROWTH_MIB = 32.0
FREE_REDIS_BYTES = 8 * 2**20
# A crowd is of readers from many addresses; that here all come from one is the laboratory's doing.
MANY_ADDRESSES: Mapping[str, object] = UNLIMITED | {"gateway_connections_per_address": 0}
# One reader may ask for two feeds a second; ten a second are a household.
HOUSEHOLD = 10


def _nothing_more(_gateway: GatewaySite) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def nearly_full_redis(gateway: GatewaySite) -> Iterator[None]:
    """Redis takes in eight more megabytes, and then nothing."""
    with Redis.from_url(gateway.site.settings[f"{PREFIX}REDIS_URL"]) as redis:
        used = int(redis.info("memory")["used_memory"])
        redis.config_set("maxmemory", used + FREE_REDIS_BYTES)
        yield


@contextmanager
def locked_stock(gateway: GatewaySite) -> Iterator[None]:
    with rows_locked(gateway.database_url):
        yield


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clients of a kind, and what else is wrong meanwhile.

    Attributes:
        is_judged: whether what these clients are told is looked at, too: a crowd and buyers do
            nothing that is wrong.
    """

    kind: str
    number: int
    per_second: float = 0
    is_judged: bool = False
    around: Callable[[GatewaySite], AbstractContextManager[None]] = _nothing_more
    on_mariadb: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {
    **{
        f"{number:,} connections": Scenario(
            "a crowd", number, is_judged=True, settings=MANY_ADDRESSES
        )
        for number in (500, 950, 1300)
    },
    **{f"{number} dripping heads": Scenario("dripping heads", number) for number in (16, 200)},
    "200 stalled bodies": Scenario("stalled bodies", 200),
    "200 that never read": Scenario("never reading", 200),
    "1,100 idle": Scenario("idle", 1100),
    # The default bounds, and no others, stand against these.
    "2,000 new ids a second, Redis 8 MB from full": Scenario(
        "newcomers", 64, per_second=2000, around=nearly_full_redis
    ),
    **{
        f"a lock held on {name}": Scenario(
            "buyers", 24, is_judged=True, around=locked_stock, on_mariadb=name == "MariaDB"
        )
        for name in ("SQLite", "MariaDB")
    },
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the reader and the others saw, and the violations: there are to be none.

    Attributes:
        core_share: of the time in which the gateway could have run, how much of it had a core.
    """

    reader: Seen
    others: Seen
    rss_mib: tuple[float, float]
    core_share: float
    violations: Counter[str]


def run(name: str, folder: Path, load_s: float, new_mariadb: Callable[[], str]) -> Outcome:
    """One scenario for so long.

    Args:
        new_mariadb: makes a database and gives its URL; not called where SQLite will do.
    """
    scenario = SCENARIOS[name]
    url = new_mariadb() if scenario.on_mariadb else ""
    with start_gateway(folder, url, **scenario.settings) as gateway, ExitStack() as stack:
        readers = returned_readers(scenario.number + HOUSEHOLD)
        reader = Plan(
            "a household",
            port=gateway.port,
            number=1,
            late_s=LATE_S,
            readers=readers[-HOUSEHOLD:],
            source="127.0.0.2",
            servers=[process.pid for process in gateway.processes()],
            per_second=ASKED_PER_SECOND,
            bodies=[seen_batch(reader) for reader in readers[-HOUSEHOLD:]],
        )
        _look_around(reader)
        before_mib = gateway.rss_mib()
        stack.enter_context(scenario.around(gateway))
        others = Plan(
            scenario.kind,
            port=gateway.port,
            number=scenario.number,
            late_s=LATE_S,
            readers=readers[:-HOUSEHOLD],
            servers=reader.servers,
            per_second=scenario.per_second,
            product_id=PRODUCT,
        )
        rude = stack.enter_context(running(others))
        ran_s, waited_s = gateway.cpu_s(), in_line_s(reader.servers)
        seen = _read_for(reader, load_s)
        ran_s, waited_s = gateway.cpu_s() - ran_s, in_line_s(reader.servers) - waited_s
        after_mib = gateway.rss_mib()
        seen_by_others = rude.stop()
        log = gateway.process.log.read_text()
    violations = Counter[str]()
    _judge(violations, seen, "the reader")
    core_share = ran_s / max(ran_s + waited_s, 1e-9)
    least = LEAST_SERVED if core_share > MOSTLY else LEAST_SERVED / 2
    violations["the reader was not served"] = int(seen.served_share < least)
    if scenario.is_judged:
        _judge(violations, seen_by_others, "others")
    violations["memory grew"] = int(after_mib - before_mib > MOST_GROWTH_MIB)
    violations["a defect was logged"] = log.count('"unexpected_error"') + log.count("Traceback")
    return Outcome(
        seen,
        seen_by_others,
        rss_mib=(before_mib, after_mib),
        core_share=core_share,
        violations=+violations,
    )


def _judge(violations: Counter[str], seen: Seen, who: str) -> None:
    violations[f"{who} waited too long"] = int(seen.failed > math.ceil(seen.asked * MOST_LATE))
    violations[f"{who} not told when to come again"] = seen.without_retry_after
    violations[f"{who} told of a defect"] = sum(
        number for status, number in seen.statuses.items() if status in ("500", "501")
    )


def _look_around(reader: Plan) -> None:
    """What a gateway does for the first time takes longer, and more memory."""
    pages = ASKED_PER_SECOND / 2
    wait_until(lambda: _read_for(reader, 1.0).served >= pages, 60, "a household to look around")


def _read_for(reader: Plan, load_s: float) -> Seen:
    with running(reader) as reading:
        # The load itself; of a time in which all processes stood still, a slice counts.
        for _ in range(round(load_s / SLICE_S)):
            time.sleep(SLICE_S)
        return reading.stop()
