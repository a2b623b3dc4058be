"""Ten minutes of mixed load by locust on a whole site, while its programs are killed in turn, Redis
is restarted and MariaDB stops for ten seconds.

For the first part things break; in the rest nothing does, and memory is watched, since a program
that has just been started is still growing. In the end every act that was acknowledged has to be
in SQL. Rejected: a mean of all memory that was ever measured; a restart would hide a leak.

    python -m bench.gateway_soak 600
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
from sqlalchemy import Engine, text

from bench.gateway_ledger import PLAN, Ledger, Plan
from tests.faults.money_invariants import check
from tests.faults.money_readers import Told
from tests.faults.money_scenarios import is_calm
from tests.faults.money_site import Shop, make_process, open_shop
from tests.faults.world import REPOSITORY, Process
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.servers import (
    MariaDBServer,
    RedisServer,
    free_port,
    spawn,
    start_mariadb,
    start_redis,
    wait_until,
)
from tidings.process.clock import now_ms
from tidings.reading.acts import Action

VISITORS, ARTICLES = 40, 400
# So much of the time things break, one every so many seconds.
BREAKING, EVERY_S = 0.5, 12.0
STOPPED_S = 10.0
SAMPLE_S = 2.0
# What a program may grow by in a minute, and in all of the quiet time, once it is warm.
MOST_SLOPE_MIB, MOST_GROWTH_MIB = 1.5, 12.0
SETTLE_S = 120.0
NAMES = ("wrong", "lost", "over_memory", "died")


@dataclass
class Memory:
    """What each program held, over time; a program that was started anew begins anew."""

    samples: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _pids: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, pid: int) -> None:
        with suppress(psutil.NoSuchProcess):
            master = psutil.Process(pid)
            every = (master, *master.children(recursive=True))
            mib = sum(one.memory_info().rss for one in every) / 2**20
            if self._pids.get(name) != pid:
                self.samples[name].clear()
                self._pids[name] = pid
            self.samples[name].append((time.monotonic(), mib))

    def judge(self, since_s: float) -> dict[str, tuple[float, float, float]]:
        """Program → MiB at first, MiB at last, and MiB a minute, since that moment."""
        found = {}
        for name, samples in self.samples.items():
            late = [sample for sample in samples if sample[0] >= since_s]
            if len(late) < 10:
                continue
            fit = statistics.linear_regression([at for at, _ in late], [mib for _, mib in late])
            first, last = (
                statistics.mean(mib for _, mib in part) for part in (late[:5], late[-5:])
            )
            found[name] = (first, last, fit.slope * 60)
        return found


@dataclass
class Soak:
    """A site, and everything that can be broken about it."""

    shop: Shop
    recommender: Process
    database: MariaDBServer
    redis_server: RedisServer
    broken: Counter[str] = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)

    def break_things(self, until_s: float, draw: random.Random) -> None:
        """One after the other, each when the site has got over the one before."""
        victims = [*self.shop.gateways[:1], self.recommender, self.shop.daemon]
        victims.append(self.shop.gateways[1])
        acts: list[Callable[[], None]] = [
            *(partial(self._kill, victim) for victim in victims),
            self._restart_redis,
            self._stop_database,
        ]
        while True:
            for act in acts:
                time.sleep(EVERY_S * draw.uniform(0.5, 1))  # under load
                if time.monotonic() > until_s:
                    return
                act()

    def _kill(self, victim: Process) -> None:
        self.broken[f"kill -9 {victim.name}"] += 1
        self.shop.kill(victim)
        self.shop.start(victim)

    def _restart_redis(self) -> None:
        self.broken["restart of Redis"] += 1
        self.redis_server.restart()

    def _stop_database(self) -> None:
        self.broken["MariaDB away"] += 1
        self.database.stop()
        time.sleep(STOPPED_S)
        self.database.start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block memory is measured."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_S):
                for process in (*self.shop.gateways, self.recommender, self.shop.daemon):
                    if process.popen is not None:
                        self.memory.note(process.name, process.popen.pid)
                for server in (self.database, self.redis_server):
                    with suppress(AssertionError):
                        self.memory.note(server.program, server.pid)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def measure(load_s: float) -> dict[str, float]:
    """Run it; the figures, of which those in NAMES are violations."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"\nlocust, {VISITORS} visitors for {load_s:.0f} s, SEED={seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(start_mariadb())
        redis_server = stack.enter_context(start_redis("--appendonly", "yes"))
        bind = f"127.0.0.1:{free_port()}"
        shop = stack.enter_context(
            open_shop(
                database,
                redis_server,
                seed=seed,
                folder=folder,
                recommender_bind=bind,
                recommender_endpoints=bind,
                order_timeout_s=20,
                order_first_visit_timeout_s=20,
            )
        )
        room = Newsroom(shop.engine, Clock(now_ms()))
        room.channels(1, 2)
        room.articles(ARTICLES)
        recommender = make_process(
            "recommender", "services.recommender", shop.environment, folder=folder
        )
        shop.start(recommender)
        stack.callback(shop.kill, recommender)
        soak = Soak(shop, recommender, database=database, redis_server=redis_server)
        began_s = time.monotonic()
        with soak.watched():
            ledger = _load(soak, folder, load_s, seed=seed)
        # A start takes memory for a while; what it takes after that is growth.
        quiet_s = began_s + load_s * (BREAKING + (1 - BREAKING) / 3)
        grown = soak.memory.judge(quiet_s)
        found = _judge(soak, ledger)
        for name, (first, last, slope) in grown.items():
            is_over = slope > MOST_SLOPE_MIB and last - first > MOST_GROWTH_MIB
            found["over_memory"] += is_over
            print(f"  {name:14}{first:8.1f} MiB {last:8.1f} MiB {slope:+7.2f} MiB a minute")
        print(f"  {dict(soak.broken)}\n  {ledger.statuses}\n  wrong: {ledger.wrong} {dict(+found)}")
    return {
        **{f"soak_{name}": found[name] for name in NAMES},
        "soak_seconds": load_s,
        "soak_requests": ledger.tries,
        "soak_sent_again_share": round(ledger.unanswered / max(ledger.tries, 1), 4),
        "soak_p50_ms": ledger.p50_ms,
        "soak_p99_ms": ledger.p99_ms,
        "soak_orders": len(ledger.placed),
        "soak_acts": len(ledger.acts) + len(ledger.exposures),
        "soak_marks": len(ledger.likings),
        "soak_faults": soak.broken.total(),
        **{f"soak_{name}_mib_a_minute": round(slope, 2) for name, (_, _, slope) in grown.items()},
    }


def _load(soak: Soak, folder: Path, load_s: float, *, seed: int) -> Ledger:
    """Locust for so long, while things break in the first part of it."""
    path = folder / "ledger"
    plan = Plan(soak.shop.ports, str(path), seed)
    command = (
        *("-m", "locust", "-f", "bench/gateway_load.py", "--headless", "--only-summary"),
        *("-u", str(VISITORS), "-r", "4", "-t", f"{load_s:.0f}s", "--stop-timeout", "70"),
    )
    log = folder / "locust.log"
    with log.open("wb") as output:
        locust = spawn(
            [sys.executable, *command],
            env=os.environ | {PLAN: msgspec.json.encode(plan).decode()},
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until_s = time.monotonic() + load_s * BREAKING
    soak.break_things(until_s, random.Random(f"{seed}:soak"))
    locust.wait(load_s + 120)
    assert path.exists(), log.read_text()[-4000:]
    return msgspec.json.decode(path.read_bytes(), type=Ledger)


def _judge(soak: Soak, ledger: Ledger) -> Counter[str]:
    """Violations, once nothing is planned, overdue, owed or unfolded."""
    shop = soak.shop
    shop.look_after()
    with suppress(TimeoutError):
        shop.bank.settle(SETTLE_S)
        wait_until(lambda: is_calm(shop), SETTLE_S, "nothing to be owed")
    told = Told(
        placed={placed.order_id: placed for placed in ledger.placed},
        cancelled=set(ledger.cancelled),
        paying={int(id_): order_id for id_, order_id in ledger.paying.items()},
        wrong=Counter(ledger.wrong),
    )
    money = check(shop, told)
    with suppress(TimeoutError):
        wait_until(lambda: not count_unkept(shop.engine, ledger), SETTLE_S, "acts in SQL")
    print(f"  money: {dict(money)}  bank: {dict(+shop.bank.wrong)}")
    lost = (
        money.total() - money["wrong_answers"] - money["died"] + count_unkept(shop.engine, ledger)
    )
    return Counter(wrong=money["wrong_answers"], lost=lost, died=money["died"])


def count_unkept(engine: Engine, ledger: Ledger) -> int:
    """Acts, exposures and likings that were acknowledged and are not in SQL, or not once."""
    with engine.connect() as conn:

        def ask(query: str) -> list[Any]:
            return list(conn.execute(text(query)))

        acts = {bytes(row.event_id).hex() for row in ask("SELECT event_id FROM behaviour")}
        seen = {bytes(row.event_id).hex() for row in ask("SELECT event_id FROM exposure")}
        liked = {
            (row.reader_id, row.target_id)
            for row in ask(
                "SELECT reader_id, target_id FROM mark"
                f" WHERE kind = {Action.LIKING.value} AND target = 0 AND is_set = 1"
            )
        }
    unkept = len(set(ledger.acts) - acts) + len(set(ledger.exposures) - seen)
    return unkept + sum(
        ((reader_id, article_id) in liked) != stands
        for reader_id, article_id, stands in ledger.likings
    )


if __name__ == "__main__":
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
    print(figures)
    sys.exit(any(figures[f"soak_{name}"] for name in NAMES))
