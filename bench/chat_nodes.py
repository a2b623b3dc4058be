"""What is measured of our own chat alone: one to one through two nodes with every message stored, a
node that is told to end, and a node that dies under ten thousand.

    measure_shed(site, sockets=10_000)  # {"shed_max_per_s_ratio": 1.02, …}
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.chat_ours import FIRST_OF_CROWD
from bench.chat_stacks import CROWD_CORE, SERVER_CORE, SETTLE_S, Crowd, Server, on_core
from tests.faults.chat_site import ChatSite, Node
from tests.faults.stolen_time import in_line_s

PAIRS, PER_S = 500, 1000
SHED_PER_S = 500
STORM_OVER_S = 20.0
WARM_S = 3.0
# So long the idle node is asked what it asks the database anyhow.
IDLE_S = 5.0


@contextmanager
def serve_ours(site: ChatSite) -> Iterator[tuple[Server, Crowd]]:
    """One node, and clients who speak as it does."""
    node = site.add_node(before=on_core(SERVER_CORE))
    try:
        with Crowd("tidings", site.settings, on_core(CROWD_CORE)) as crowd:
            yield Server(node.pid, node.port), crowd
    finally:
        node.kill()


def measure_two_nodes(site: ChatSite, seconds: float) -> dict[str, float]:
    """Each message goes from one node to the other, a thousand a second, half of them each way."""
    stamps = site.folder / "stamps"
    nodes = [site.add_node(program=("bench.chat_node", str(stamps))) for _ in range(2)]
    readers = [FIRST_OF_CROWD + number for number in range(2 * PAIRS)]
    conversations = [site.talk(readers[n : n + 2]) for n in range(0, len(readers), 2)]
    try:
        with Crowd("tidings", site.settings) as crowd:
            crowd.ask("connect", number=len(readers), ports=[node.port for node in nodes])
            order = {"conversations": conversations, "per_s": PER_S}
            crowd.ask("pairs", **order, seconds=WARM_S)
            beside = [site.database.pid, site.redis.pid, crowd.process.pid]
            before = read_cores([node.pid for node in nodes], beside)
            got = crowd.ask("pairs", **order, seconds=seconds)
            after = read_cores([node.pid for node in nodes], beside)
    finally:
        for node in nodes:
            node.kill()
    committed = read_stamps(stamps)
    sent, acked, received = got["sent"], got["acked"], got["received"]
    arrived = sorted((received[cid] - committed[cid]) / 1e6 for cid in received)
    answered = sorted((acked[cid] - sent[cid]) / 1e6 for cid in acked)
    whole = sorted((received[cid] - sent[cid]) / 1e6 for cid in received)
    return {
        "two_node_p50_ms": _at(arrived, 0.5),
        "two_node_p99_ms": _at(arrived, 0.99),
        "send_to_ack_p50_ms": _at(answered, 0.5),
        "send_to_ack_p99_ms": _at(answered, 0.99),
        "send_to_receiver_p99_ms": _at(whole, 0.99),
        "two_node_sent_per_s": len(sent) / seconds,
        "two_node_not_received": len(sent) - len(received),
        "two_node_not_acked": len(sent) - len(acked),
        **_tell_cores(before, after, len(nodes)),
    }


class Cores(NamedTuple):
    """Seconds until now.

    Attributes:
        at_s: of the clock.
        busy_s: that the cores of the machine ran anything.
        nodes_s: that the nodes ran.
        beside_s: that the database, Redis and the clients ran.
        waited_s: that the nodes were ready to run while no core was free.
    """

    at_s: float
    busy_s: float
    nodes_s: float
    beside_s: float
    waited_s: float


def read_cores(nodes: Sequence[int], beside: Sequence[int]) -> Cores:
    """What the cores have done until now, for these processes and for all."""
    of_nodes, of_others = ([Server(pid, 0) for pid in pids] for pids in (nodes, beside))
    times = psutil.cpu_times()
    return Cores(
        at_s=time.monotonic(),
        busy_s=sum(times) - times.idle - times.iowait,
        nodes_s=sum(server.cpu_ns() for server in of_nodes) / 1e9,
        beside_s=sum(server.cpu_ns() for server in of_others) / 1e9,
        waited_s=in_line_s([each.pid for server in of_nodes for each in server.processes()]),
    )


def _tell_cores(before: Cores, after: Cores, nodes: int) -> dict[str, float]:
    """How many cores ran meanwhile, and for whom: where none is free, a message waits for one."""
    took_s, busy_s, nodes_s, beside_s, waited_s = (
        then - now for then, now in zip(after, before, strict=True)
    )
    return {
        "two_node_busy_cores": busy_s / took_s,
        "two_node_others_cores": (busy_s - nodes_s - beside_s) / took_s,
        "two_node_cores_each": nodes_s / nodes / took_s,
        "two_node_waited_share": waited_s / nodes / took_s,
    }


def _at(sorted_ms: list[float], share: float) -> float:
    return sorted_ms[int(len(sorted_ms) * share)]


def read_stamps(path: Path) -> dict[str, int]:
    """When each message was committed, by its cid; monotonic nanoseconds."""
    stamps: dict[str, int] = {}
    for line in path.read_text().splitlines():
        at_ns, *cids = line.split()
        stamps.update(dict.fromkeys(cids, int(at_ns)))
    return stamps


def measure_shed(site: ChatSite, sockets: int) -> dict[str, float]:
    """SIGTERM under so many sockets: the most that were closed within a second, beside what was
    asked for."""
    node = site.add_node(chat_shed_per_s=SHED_PER_S)
    with Crowd("tidings", site.settings) as crowd:
        crowd.ask("connect", number=sockets, ports=[node.port])
        crowd.begin("ends")
        node.process.is_wanted = False
        node.process.send(signal.SIGTERM)
        seen = crowd.end()
    return {
        "shed_max_per_s_ratio": seen["max_per_s"] / SHED_PER_S,
        "shed_seconds": seen["seconds"],
        "shed_without_bye": seen["without_bye"],
        "shed_not_1012": seen["other_codes"],
    }


def measure_storm(site: ChatSite, sockets: int) -> dict[str, float]:
    """kill -9 under so many sockets, all of which come to the other node, with jitter."""
    first, second = site.add_node(), site.add_node()
    try:
        with Crowd("tidings", site.settings) as crowd:
            crowd.ask("connect", number=sockets, ports=[first.port])
            crowd.ask("fan_out", marker="before-storm")
            time.sleep(SETTLE_S)
            idle_per_s = _count_idle(site)
            first.kill()
            before, began_s = count_queries(site), time.monotonic()
            seen = crowd.ask("come_back", port=second.port, over_s=STORM_OVER_S)
            took_s = time.monotonic() - began_s
            asked = count_queries(site) - before - idle_per_s * took_s
    finally:
        for node in (first, second):
            _end(node)
    return {
        "storm_queries_per_client": max(asked, 0.0) / sockets,
        "storm_back": seen["back"],
        "storm_recovered": seen["recovered"],
        "storm_seconds": seen["seconds"],
        "idle_queries_per_s": idle_per_s,
    }


def _end(node: Node) -> None:
    if node.process.is_running:
        node.kill()


def _count_idle(site: ChatSite) -> float:
    before = count_queries(site)
    time.sleep(IDLE_S)
    return (count_queries(site) - before) / IDLE_S


def count_queries(site: ChatSite) -> int:
    """Statements that the database was asked, these ones not counted."""
    ((_, asked),) = site.database.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
    return int(asked)
