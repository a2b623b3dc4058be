"""What can befall two recommenders under load, and how many calls each fault may cost at most.

A call is lost without fault of ours if the server had it when it died, froze or was cut off: as
many as were in flight. What had not been sent has to be answered by the other server, and a planned
restart may cost nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.networks import RECOMMENDERS, ends
from tests.faults.rpc_site import (
    DEADLINE_MS,
    LATE_MS,
    PATIENT_MS,
    Readers,
    Recommender,
    Seen,
    Site,
    start_site,
)
from tests.lab.servers import find_program, wait_until
from tidings.process.errors import PREFIX
from tidings.rpc.calling.policy import Policy

BUSY = 6

# Each returns how often it struck, and the most calls that may cost.
Fault = Callable[[list[Recommender], float], tuple[int, int]]


def kill_a_server(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """kill -9 of one of two, master and workers, and a restart, over and over.

    The workers end one after the other, so a reader who has lost a call to the first may lose one
    more to the next.
    """
    ends_s, kills, deaths = time.monotonic() + load_s, 0, 0
    while time.monotonic() < ends_s:
        victim = recommenders[kills % 2]
        deaths += len(victim.workers())
        victim.send(signal.SIGKILL)
        victim.restart()
        kills += 1
        time.sleep(0.5)
    return kills, deaths * (BUSY + 1)


def kill_a_worker(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """kill -9 of one server's worker, over and over; its master starts another, after longer and
    longer pauses."""
    victim = recommenders[0]
    ends_s, kills = time.monotonic() + load_s, 0
    while time.monotonic() < ends_s:
        for dead in victim.workers():
            dead.kill()
            wait_until(partial(victim.has_followed, dead.pid), 30, "the next worker")
            kills += 1
        time.sleep(0.3)
    return kills, kills * (BUSY + 1)


def freeze_a_server(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """SIGSTOP: it accepts and never answers. After a few calls it is left alone, but for a probe
    now and then."""
    frozen = recommenders[0]
    frozen.send_all(signal.SIGSTOP)
    try:
        time.sleep(load_s)
    finally:
        frozen.send_all(signal.SIGCONT)
    policy = Policy()
    probes = 1 + int(load_s / policy.ejection_s)
    # Two clients, each of which has to find out for itself.
    return 1, BUSY + 1 + 2 * (policy.eject_after + probes)


def drop_packets(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """A tenth of a second without a network, again and again, between the readers and one
    server."""
    ends_s, cuts = time.monotonic() + load_s, 0
    link = _link_of(recommenders[0].namespace)
    while time.monotonic() < ends_s:
        _ip("link", "set", link, "down")
        time.sleep(0.1)
        _ip("link", "set", link, "up")
        cuts += 1
        time.sleep(0.4)
    return cuts, cuts * (BUSY + 1)


def replace_workers(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """SIGHUP, one server after the other."""
    ends_s, turn = time.monotonic() + load_s, 0
    while time.monotonic() < ends_s or turn < 2:
        recommenders[turn % 2].replace_workers()
        turn += 1
        time.sleep(0.2)
    return turn, 0


def roll_out(recommenders: list[Recommender], load_s: float) -> tuple[int, int]:
    """SIGTERM and a new start, one server after the other, as a deployment does."""
    ends_s, turn = time.monotonic() + load_s, 0
    while time.monotonic() < ends_s or turn < 2:
        one = recommenders[turn % 2]
        one.send(signal.SIGTERM)
        one.restart()
        turn += 1
        time.sleep(Policy().ejection_s * 2)  # until its clients have come back to it
    return turn, 0


FAULTS: dict[str, Fault] = {
    "kill -9 of a server": kill_a_server,
    "kill -9 of a worker": kill_a_worker,
    "SIGSTOP of a server": freeze_a_server,
    "SIGHUP of both servers": replace_workers,
    "roll-out by SIGTERM": roll_out,
}
NETWORK_FAULTS: dict[str, Fault] = {"no network now and then": drop_packets}
PLANNED = ("SIGHUP of both servers", "roll-out by SIGTERM")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the readers saw, and the violations: there are to be none."""

    seen: Seen
    violations: Counter[str]
    faults: int
    may_lose: int


def can_split_networks() -> bool:
    """Network namespaces want root."""
    return os.geteuid() == 0


def run(name: str, folder: Path, load_s: float, *, workers: int = 1) -> Outcome:
    """Two recommenders of so many workers, and a fault of this name for so long."""
    with ExitStack() as stack:
        site = stack.enter_context(start_site(folder))
        # A call ends with its deadline, for which stolen time is an excuse, and not before.
        site.settings[f"{PREFIX}REDIS_TIMEOUT_S"] = "30"
        recommenders = stack.enter_context(_two_of(site, workers, apart=name in NETWORK_FAULTS))
        deadline_ms = PATIENT_MS if name in PLANNED else DEADLINE_MS
        with Readers(recommenders, BUSY, deadline_ms, redis_pid=site.redis.pid) as readers:
            wait_until(lambda: readers.seen.answered > 50, 30, "fifty answers")
            faults, may_lose = (FAULTS | NETWORK_FAULTS)[name](recommenders, load_s)
            before = readers.seen.answered
            wait_until(
                lambda: readers.seen.answered > before + 50, 30, "fifty answers after the fault"
            )
        seen = readers.seen
        violations = Counter(seen.wrong)
        violations["lost without need"] = max(0, seen.lost.total() - seen.excused - may_lose)
        violations["p99 over the deadline"] = int(seen.p99_ms() > deadline_ms + LATE_MS)
        violations["unclassified"] = sum(log.count('"unclassified"') for log in _logs(site))
    return Outcome(seen, +violations, faults, may_lose)


def _logs(site: Site) -> Iterator[str]:
    for recommender in site.recommenders:
        yield recommender.log.read_text()


@contextmanager
def _two_of(site: Site, workers: int, *, apart: bool) -> Iterator[list[Recommender]]:
    """Two recommenders; `apart`: the first one in a network of its own."""
    if not apart:
        yield [site.add(workers=workers) for _ in range(2)]
        return
    name = f"tidings-{os.getpid()}"
    link = _link_of(name)
    here, there = ends(os.getpid(), RECOMMENDERS)
    try:
        _ip("netns", "add", name)
        _ip("link", "add", link, "type", "veth", "peer", "name", "inside", "netns", name)
        _ip("address", "add", f"{here}/30", "dev", link)
        _ip("link", "set", link, "up")
        for command in (
            ("address", "add", f"{there}/30", "dev", "inside"),
            ("link", "set", "inside", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-netns", name, *command)
        yield [
            site.add(address=there, namespace=name, workers=workers),
            site.add(workers=workers),
        ]
    finally:
        for removal in (("link", "delete", link), ("netns", "delete", name)):
            with suppress(subprocess.CalledProcessError):
                _ip(*removal)


def _link_of(namespace: str) -> str:
    return f"tid{namespace.rpartition('-')[2]}"  # a name of an interface has at most 15 letters


def _ip(*arguments: str) -> None:
    subprocess.run([find_program("ip"), *arguments], check=True, capture_output=True, timeout=60)
