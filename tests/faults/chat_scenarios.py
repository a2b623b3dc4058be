"""What can befall two nodes of the chat while readers chat through them, and what must hold of it
all.

Redis may be lost at any moment, a node too, and the database for a while: readers wait then. Once
all is back, every message that is stored has been shown to every member, once and in order, and
every message that was sent has been acknowledged.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.faults import chat_crowds
from tests.faults.chat_clients import Chatters, Plan
from tests.faults.chat_ledgers import has_all, violations
from tests.faults.chat_mutants import Mutant
from tests.faults.chat_site import ChatSite, start_chat
from tests.faults.cutter import CommitCutter
from tests.faults.networks import Networks, networks
from tests.faults.world import REPOSITORY
from tests.lab.moved_clock import moved_clock
from tests.lab.servers import MariaDBServer, RedisServer, wait_until

SETTLE_S = 60.0
MOST_TRIES = 4
# What the promise names.
REDIS_AWAY_S, DATABASE_AWAY_S, CLOCK_AHEAD_S = 5.0, 10.0, 60.0
# As quick as they go: a socket whose other end was cut off is noticed while the test lasts.
PING_EVERY_S, DEAD_AFTER_S = 5.0, 20.0
# How long a repeat of a message that was shown would take to come.
QUIET_S = 1.0


@dataclass
class World:
    """Two nodes, the readers, and what the faults need besides."""

    site: ChatSite
    chatters: Chatters
    load_s: float
    sockets: int
    random: random.Random
    cutter: CommitCutter | None = None
    networks: Networks | None = None
    found: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)

    def turns(self, pause_s: float) -> Iterator[int]:
        """Again and again until the time is over, twice at least, with a pause after each."""
        ends_s, turn = time.monotonic() + self.load_s, 0
        while time.monotonic() < ends_s or turn < 2:
            yield turn
            turn += 1
            self.wait_for_answers()
            time.sleep(pause_s)

    def wait_for_answers(self) -> None:
        """Return when ten messages more have been acknowledged: the fault is over for readers."""
        before = self.chatters.acked
        wait_until(lambda: self.chatters.acked >= before + 10, SETTLE_S, "ten acknowledgements")


# Each returns how often it struck.
Fault = Callable[[World], int]


def kill_a_node(world: World) -> int:
    """kill -9 and a new start, one node or the other, over and over."""
    strikes = 0
    for _ in world.turns(0.3):
        victim = world.random.choice(world.site.nodes)
        victim.kill()
        victim.start()
        strikes += 1
    return strikes


def restart_redis(world: World) -> int:
    """It comes back empty, over and over."""
    strikes = 0
    for _ in world.turns(1):
        world.site.redis.restart()
        strikes += 1
    return strikes


def lose_redis(world: World) -> int:
    """Gone for five seconds."""
    world.site.redis.kill()
    time.sleep(REDIS_AWAY_S)
    world.site.redis.start()
    world.wait_for_answers()
    return 1


def freeze_redis(world: World) -> int:
    """It accepts and does not answer, for as long."""
    with world.site.redis.frozen():
        time.sleep(REDIS_AWAY_S)
    world.wait_for_answers()
    return 1


def flush_redis(world: World) -> int:
    """FLUSHALL, over and over."""
    strikes = 0
    with Redis.from_url(world.site.redis.url) as redis:
        for _ in world.turns(0.5):
            redis.flushall()
            strikes += 1
    return strikes


def stop_database(world: World) -> int:
    """MariaDB ends and is back after ten seconds."""
    world.site.database.stop()
    time.sleep(DATABASE_AWAY_S)
    world.site.database.start()
    world.wait_for_answers()
    return 1


def cut_commits(world: World) -> int:
    """Connections of the nodes to the database are cut at one COMMIT in twenty, half of them after
    it was done."""
    cutter = world.cutter
    assert cutter is not None
    cutter.cutting = True
    ends_s = time.monotonic() + SETTLE_S
    for _ in world.turns(0.2):
        if min(cutter.cuts["before"], cutter.cuts["after"]) or time.monotonic() > ends_s:
            continue
        world.load_s += 1
    cutter.cutting = False
    assert min(cutter.cuts["before"], cutter.cuts["after"]) > 0, f"nothing was cut: {cutter.cuts}"
    return cutter.cuts.total()


def split_nodes(world: World) -> int:
    """The second node loses database and Redis, and keeps its readers, for two seconds again and
    again: what the first one stores meanwhile reaches them afterwards."""
    assert world.networks is not None
    strikes = 0
    for _ in world.turns(1):
        world.networks.cut()
        time.sleep(2)
        world.networks.join()
        strikes += 1
    return strikes


def roll_out(world: World) -> int:
    """SIGTERM and a new start, one node after the other, each with a crowd of sockets open."""
    for number, node in enumerate(world.site.nodes):
        with chat_crowds.crowd(world.site) as crowd:
            crowd.join(world.sockets, node)
            ends = crowd.watch_ends()
            node.process.is_wanted = False
            node.process.send(signal.SIGTERM)
            seen = ends()
            assert node.process.popen is not None
            node.process.popen.wait(SETTLE_S)
        world.found["told_nothing"] += seen["without_bye"]
        world.found["closed_otherwise"] += seen["other_codes"]
        world.found["shed_too_fast"] += seen["max_per_s"] > chat_crowds.SHED_PER_S * 1.1
        world.figures[f"shed_max_per_s_{number}"] = seen["max_per_s"]
        node.start()
        world.wait_for_answers()
    return len(world.site.nodes)


def stall_a_reader(world: World) -> int:
    """One of two hundred who read a busy topic never reads."""
    with chat_crowds.crowd(world.site) as crowd:
        crowd.join(200, world.site.nodes[0])
        seen = crowd.stall(1, world.load_s)
    world.found["others_missed"] += seen["missing"]
    world.found["stalled_reader_kept"] += seen["stalled_open"]
    world.figures["beside_a_stalled_reader_p99_ms"] = seen["p99_ms"]
    world.wait_for_answers()
    return 1


def leave_be(world: World) -> int:
    """No fault: what the others are held against."""
    for _ in world.turns(0.5):
        pass
    return 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what has to be so from the start.

    Attributes:
        ahead_s: how far the clock of the second node is ahead.
        is_apart: the second node stands in a network of its own.
        is_cut: a wire to the database that can be cut at commits.
    """

    fault: Fault
    ahead_s: float = 0
    is_apart: bool = False
    is_cut: bool = False

    @property
    def is_usual(self) -> bool:
        """It begins with two nodes as any others, and leaves them so."""
        return not (self.ahead_s or self.is_apart or self.is_cut)


SCENARIOS = {
    "no fault": Scenario(leave_be),
    "kill -9 of a node": Scenario(kill_a_node),
    "restart of Redis": Scenario(restart_redis),
    "Redis away for 5 s": Scenario(lose_redis),
    "Redis frozen for 5 s": Scenario(freeze_redis),
    "FLUSHALL": Scenario(flush_redis),
    "MariaDB away for 10 s": Scenario(stop_database),
    "commits cut": Scenario(cut_commits, is_cut=True),
    "SIGTERM under a crowd": Scenario(roll_out),
    "a stalled reader among 200": Scenario(stall_a_reader),
    "a cut between the nodes": Scenario(split_nodes, is_apart=True),
    "clocks a minute apart, kill -9": Scenario(kill_a_node, ahead_s=CLOCK_AHEAD_S),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the readers saw, and the violations: there are to be none."""

    violations: Counter[str]
    faults: int
    acked: int
    shown: int
    repeats: int
    reconnects: int
    recovered: int
    reloads: int
    turned_away: int
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Opened:
    """Two nodes that run, and what a scenario may need of them."""

    site: ChatSite
    cutter: CommitCutter | None = None
    networks: Networks | None = None


@contextmanager
def open_site(
    folder: Path, scenario: Scenario, *, tree: Path = REPOSITORY, seed: int = 1
) -> Iterator[Opened]:
    """Servers and two nodes as the scenario has them.

    Args:
        tree: whose chat runs.
    """
    with ExitStack() as stack:
        apart = stack.enter_context(networks(os.getpid())) if scenario.is_apart else None
        addresses = ["127.0.0.1", *([apart.outside] if apart else [])]
        database, redis = stack.enter_context(_servers(addresses))
        cutter = None
        if scenario.is_cut:
            cutter = stack.enter_context(CommitCutter(database.port, random.Random(seed)))
        site = stack.enter_context(
            start_chat(
                folder,
                database,
                redis,
                database_port=cutter.port if cutter else 0,
                tree=tree,
                chat_shed_per_s=chat_crowds.SHED_PER_S,
                chat_ping_every_s=PING_EVERY_S,
                chat_dead_after_s=DEAD_AFTER_S,
            )
        )
        site.add_node()
        _add_second_node(site, scenario, apart)
        yield Opened(site, cutter, apart)


def run(name: str, opened: Opened, load_s: float, *, sockets: int, seed: int = 1) -> Outcome:
    """Readers on both nodes, and a fault of this name for so long.

    Args:
        sockets: how many are open besides where a node is told to end.
    """
    site = opened.site
    site.mend()
    chatters = Chatters(site, Plan(), seed)
    world = World(
        site,
        chatters,
        load_s,
        sockets,
        random.Random(f"{seed}:faults"),
        cutter=opened.cutter,
        networks=opened.networks,
    )
    with chatters:
        world.wait_for_answers()
        strikes = SCENARIOS[name].fault(world)
        with suppress(TimeoutError):  # who is let in, or never heard, is counted below
            wait_until(chatters.has_tried_to_intrude, SETTLE_S, "a try to intrude")
        chatters.hush()
        with suppress(TimeoutError):  # what is missing is counted below
            wait_until(lambda: has_all(site, chatters.ledgers), SETTLE_S, "every message")
        time.sleep(QUIET_S)
        wrong_unread = chatters.count_wrong_unread()
    ledgers = chatters.ledgers
    broken = violations(site, ledgers) + world.found
    broken["wrong_unread"] += wrong_unread
    return Outcome(
        +broken,
        strikes,
        acked=chatters.acked,
        shown=sum(len(shown) for ledger in ledgers for shown in ledger.shown.values()),
        repeats=sum(ledger.repeats for ledger in ledgers),
        reconnects=sum(ledger.reconnects for ledger in ledgers),
        recovered=sum(ledger.recovered for ledger in ledgers),
        reloads=sum(ledger.reloads for ledger in ledgers),
        turned_away=chatters.intruder.turned_away,
        figures=world.figures,
    )


def find_mistake(mutant: Mutant, opened: Opened, load_s: float) -> Outcome | None:
    """The first outcome in which a mistake shows; a fault may fall where it does no harm."""
    for seed in range(MOST_TRIES):
        outcome = run(mutant.scenario, opened, load_s, sockets=0, seed=seed)
        if set(mutant.breaks) & set(outcome.violations):
            return outcome
    return None


class ReachableMariaDB(MariaDBServer):
    """At several addresses."""

    addresses = "127.0.0.1"

    def _command(self) -> list[str]:
        return [*super()._command(), f"--bind-address={self.addresses}"]


@contextmanager
def _servers(addresses: Sequence[str]) -> Iterator[tuple[MariaDBServer, RedisServer]]:
    with ExitStack() as stack:
        # A UNIX socket's path is short, so no folder of a test.
        one, two = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
            for _ in range(2)
        )
        database = ReachableMariaDB(one)
        database.addresses = ",".join(addresses)
        bound = ("--bind", *addresses, "--protected-mode", "no")
        yield stack.enter_context(database), stack.enter_context(RedisServer(two, bound))


def _add_second_node(site: ChatSite, scenario: Scenario, apart: Networks | None) -> None:
    """As the scenario has it."""
    if apart is None:
        before = ["env", *moved_clock(site.folder, scenario.ahead_s)] if scenario.ahead_s else []
        site.add_node(before=before)
        return
    site.add_node(
        before=apart.inside,
        bind="0.0.0.0",
        address=apart.address,
        database_url=site.settings["TIDINGS_DATABASE_URL"].replace("127.0.0.1", apart.outside),
        redis_url=site.settings["TIDINGS_REDIS_URL"].replace("127.0.0.1", apart.outside),
    )
