"""Several worker processes behind one address: who answers, who follows whom, and what is lost
(nothing)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests.integration.rpc.conftest import Connect
from tests.integration.rpc.echo_workers import KILLS, LEAVES, SLOW
from tests.integration.rpc.masters import StartWorkers, Workers, masters
from tests.integration.rpc.peers import PATIENCE_S
from tests.lab.servers import wait_until
from tidings.process.backoff import PAUSES_S
from tidings.rpc.calling.client import Client
from tidings.rpc.errors import TransportFaultError
from tidings_idl.recommend.ttypes import UserRequest


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartWorkers]:
    with masters(tmp_path) as run:
        yield run


def has_lines(workers: Workers, event: str, number: int) -> bool:
    return len(workers.lines(event)) == number


def ask(client: Client, user_id: int = 1) -> int:
    """Which process answers; that the answer is to this question is checked."""
    answer = client.call("user_recommend", UserRequest(user_id=user_id))
    assert answer.exposure == str(user_id)
    return int(answer.time_stamp)


def one_call_connections(endpoint: str, connect: Connect, calls: int) -> Counter[int]:
    """Who answers calls each made on a connection of its own."""
    found: Counter[int] = Counter()
    for _ in range(calls):
        client = connect(endpoint)
        found[ask(client)] += 1
        client.close()
    return found


# Serving.


@pytest.mark.parametrize("count", [1, 3])
def test_clients_are_spread_over_the_workers(
    start: StartWorkers, connect: Connect, count: int
) -> None:
    """Each worker has a queue of its own, and the kernel fills them evenly."""
    workers = start(count)

    assert one_call_connections(workers.endpoint, connect, 40 * count).keys() == workers.pids()


def test_workers_share_a_unix_socket(start: StartWorkers, connect: Connect, tmp_path: Path) -> None:
    """The kernel does not spread those, so there is one queue for all."""
    workers = start(2, bind=f"unix:{tmp_path}/s")

    assert one_call_connections(workers.endpoint, connect, 10).keys() <= workers.pids()


def test_each_worker_stays_on_one_core(start: StartWorkers) -> None:
    """Trap: threads of one interpreter spread over two cores fight for its lock, at 0.57 times the
    calls."""
    workers = start(2)
    cores = [psutil.Process(pid).cpu_affinity() for pid in workers.pids()]

    assert all(len(own or []) == 1 for own in cores)
    if len(os.sched_getaffinity(0)) > 1:
        assert cores[0] != cores[1]


def test_the_metrics_of_all_workers_add_up(start: StartWorkers, connect: Connect) -> None:
    """One port tells the operators what all workers answered."""
    workers = start(2)
    one_call_connections(workers.endpoint, connect, 30)

    wait_until(
        lambda: workers.metric("tidings_rpc_server_calls_total") == 30,
        PATIENCE_S,
        "30 counted calls",
    )
    wait_until(
        lambda: workers.metric("tidings_rpc_workers_ready") == 2, PATIENCE_S, "the word of both"
    )


def test_a_port_that_another_master_serves_is_refused(start: StartWorkers) -> None:
    """Trap: sockets with SO_REUSEPORT share their port with anybody of the same user who asks,
    without a word."""
    workers = start(1)
    second = start(1, bind=workers.endpoint, ready=False, folder="another")

    assert second.exit_code() != 0
    assert "another program listens there" in second.output()


def test_the_same_start_command_twice_leaves_the_first_one_alone(
    start: StartWorkers, connect: Connect
) -> None:
    """With its files in the same folder too: the second one would empty the first one's metrics."""
    workers = start(1)
    ask(connect(workers.endpoint))
    second = start(1, bind=workers.endpoint, ready=False)

    assert second.exit_code() != 0
    assert f"echo runs already for {workers.endpoint}" in second.output()


def test_a_worker_that_cannot_start_is_one_clear_line(start: StartWorkers, tmp_path: Path) -> None:
    """And exit code 2, not a loop of restarts."""
    (tmp_path / "broken").touch()
    workers = start(2, ready=False)

    assert workers.exit_code() == 2
    assert "echo: the folder says that this is broken" in workers.output().splitlines()


# Dying.


def test_a_dead_worker_is_started_again_and_its_clients_wait_for_it(
    start: StartWorkers, connect: Connect
) -> None:
    """Trap: with the worker its listening socket would go, and everybody in its queue. The master
    keeps it."""
    workers = start(1)
    (before,) = workers.pids()
    client = connect(workers.endpoint)
    with pytest.raises(TransportFaultError) as ex:
        ask(client, KILLS)
    assert ex.value.sent

    assert ask(client) != before  # connected at once, and answered by the next worker
    assert workers.metric("tidings_rpc_worker_deaths_total") == 1
    assert workers.lines("worker_died")[0]["exit_code"] == -signal.SIGKILL


def test_a_worker_that_keeps_dying_is_started_less_and_less_often(
    start: StartWorkers, connect: Connect, tmp_path: Path
) -> None:
    """As fast as it dies would keep a core busy with dying. Meanwhile its clients are sent away,
    not kept waiting."""
    workers = start(1)
    client = connect(workers.endpoint)
    for life in (1, 2, 3, 4):
        wait_until(
            partial(has_lines, workers, "rpc_server_started", life), PATIENCE_S, "the next life"
        )
        if life == 4:  # the fifth begins to serve when it is told to
            (tmp_path / "loading").touch()
        with pytest.raises(TransportFaultError) as killed:
            ask(client, KILLS)
        assert killed.value.sent
        wait_until(partial(has_lines, workers, "worker_died", life), PATIENCE_S, "its end")
    with pytest.raises(TransportFaultError, match="refused") as refused:
        ask(client)
    assert not refused.value.sent
    (tmp_path / "loading").unlink()
    wait_until(lambda: len(workers.lines("rpc_server_started")) == 5, PATIENCE_S, "the fifth life")
    assert ask(client) in workers.pids()

    died = [datetime.fromisoformat(line["timestamp"]) for line in workers.lines("worker_died")]
    begun = [
        datetime.fromisoformat(line["timestamp"]) for line in workers.lines("worker_started")[1:]
    ]
    pauses_s = [(start - death).total_seconds() for death, start in zip(died, begun, strict=True)]
    assert [pause_s >= least_s for pause_s, least_s in zip(pauses_s, PAUSES_S, strict=False)] == [
        True
    ] * 4


def test_dead_workers_leave_no_files(start: StartWorkers, connect: Connect) -> None:
    """Trap: prometheus_client keeps a file for every process id there ever was, and reads them all
    at each scrape."""
    workers = start(1)
    client = connect(workers.endpoint)
    ask(client)
    wait_until(
        lambda: workers.metric("tidings_rpc_server_calls_total") >= 1, PATIENCE_S, "the count"
    )
    folder = Path((workers.folder / "metrics-files").read_text())
    files = sorted(path.name for path in folder.iterdir())
    for deaths in (1, 2):
        with suppress(TransportFaultError):
            ask(client, KILLS)
        wait_until(
            lambda wanted=1 + deaths: len(workers.lines("rpc_server_started")) == wanted,  # type: ignore[misc]
            PATIENCE_S,
            "the next worker",
        )
        ask(client)
        wait_until(
            lambda wanted=1 + deaths: workers.metric("tidings_rpc_server_calls_total") >= wanted,  # type: ignore[misc]
            PATIENCE_S,
            "the dead one's counts too",
        )

    assert sorted(path.name for path in folder.iterdir()) == files


def test_workers_die_with_their_master(start: StartWorkers) -> None:
    """kill -9 of the master frees the address at once, for the next start."""
    workers = start(2)
    pids = workers.pids()
    workers.signal(signal.SIGKILL)
    workers.exit_code()

    wait_until(
        lambda: not any(psutil.pid_exists(pid) for pid in pids), PATIENCE_S, "the workers' end"
    )
    start(2, bind=workers.endpoint, ready=False)
    host, port = workers.endpoint.split(":")
    wait_until(lambda: _accepts(host, int(port)), PATIENCE_S, "the new master")


def _accepts(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def test_one_ready_worker_is_enough_to_be_ready(start: StartWorkers) -> None:
    """A frozen worker is noticed by its silence; only when all are silent is the address not
    ready."""
    workers = start(2)
    one, other = workers.pids()
    os.kill(one, signal.SIGSTOP)
    wait_until(
        lambda: workers.metric("tidings_rpc_workers_ready") == 1, PATIENCE_S, "the silence of one"
    )
    wait_until(workers.is_ready, PATIENCE_S, "the word of the other")
    os.kill(other, signal.SIGSTOP)
    wait_until(lambda: not workers.is_ready(), PATIENCE_S, "the silence of both")
    os.kill(one, signal.SIGCONT)
    wait_until(workers.is_ready, PATIENCE_S, "its return")
    os.kill(other, signal.SIGCONT)


# Ending, and beginning anew.


def load(
    client: Client, until: threading.Event, failures: list[Exception], answered: set[int]
) -> None:
    """Call without a pause; what fails is a lost request."""
    for user_id in count(100):
        if until.is_set():
            return
        try:
            answered.add(ask(client, user_id))
        except Exception as ex:  # noqa: BLE001 - the test is about there being none
            failures.append(ex)


def test_a_hang_up_replaces_every_worker_without_a_lost_request(
    start: StartWorkers, connect: Connect
) -> None:
    """Under load, with busy and with idle connections, and with the slot's clients in its queue."""
    workers = start(2)
    before = workers.pids()
    # Young, so that some are opened meanwhile.
    clients = [connect(workers.endpoint, connection_max_age_s=2) for _ in range(4)]
    now_and_then = connect(workers.endpoint, connection_max_age_s=2)
    slow = connect(workers.endpoint, connection_max_age_s=2)
    done = threading.Event()
    failures: list[Exception] = []
    answered: set[int] = set()
    with ThreadPoolExecutor(6) as threads:
        loads = [threads.submit(load, client, done, failures, answered) for client in clients]
        try:
            pending = threads.submit(ask, slow, SLOW)
            workers.wait_for_slow()
            for replaced in (2, 4):
                generation = workers.pids()
                ask(now_and_then)
                workers.signal(signal.SIGHUP)
                wait_until(
                    partial(has_lines, workers, "rpc_server_retiring", replaced),
                    PATIENCE_S,
                    "the end of their service",
                )
                workers.end_slow()
                wait_until(
                    lambda known=generation: (
                        not known & workers.pids() and len(workers.pids()) == 2
                    ),  # type: ignore[misc]
                    PATIENCE_S,
                    "the next generation",
                )
                ask(now_and_then)
                wait_until(
                    lambda: bool(failures) or bool(workers.pids() & answered),
                    PATIENCE_S,
                    "calls of this generation",
                )
            assert pending.result(PATIENCE_S) in before
        finally:
            workers.end_slow()
            done.set()
        for future in loads:
            future.result(PATIENCE_S)

    assert failures == []
    assert not workers.lines("worker_died")


def test_a_replaced_worker_does_not_make_its_clients_leave_the_server(
    start: StartWorkers, connect: Connect
) -> None:
    """Only the connection is given up, not the endpoint: the next call goes to the same address at
    once."""
    workers = start(1)
    client = connect(workers.endpoint)
    before = ask(client)
    workers.signal(signal.SIGHUP)
    wait_until(lambda: bool(workers.lines("rpc_server_retiring")), PATIENCE_S, "the replacement")

    ask(client)  # of the old worker perhaps, which then gives the connection on
    assert ask(client) != before
    assert not client._balancer._endpoints[0].is_ejected()


def test_a_signal_that_does_not_end_the_workers_wait_is_obeyed_all_the_same(
    start: StartWorkers, connect: Connect
) -> None:
    """One that comes just before the wait begins does not end it, nor does one that the kernel
    gives to another thread, as here."""
    workers = start(1)
    told = ask(connect(workers.endpoint), LEAVES)

    wait_until(lambda: told not in workers.pids(), PATIENCE_S, "the worker's end")
    wait_until(lambda: bool(workers.lines("worker_died")), PATIENCE_S, "its line")
    assert [line["exit_code"] for line in workers.lines("worker_died")] == [0]


def test_a_new_worker_that_does_not_start_replaces_nobody(
    start: StartWorkers, connect: Connect
) -> None:
    """A bad deploy costs a line in the log and nothing else."""
    workers = start(2)
    before = workers.pids()
    (workers.folder / "broken").touch()
    workers.signal(signal.SIGHUP)
    wait_until(lambda: bool(workers.lines("workers_not_replaced")), PATIENCE_S, "the failure")

    assert workers.pids() == before
    assert one_call_connections(workers.endpoint, connect, 20).keys() <= before


def test_a_drain_answers_everybody_and_ends_with_0(start: StartWorkers, connect: Connect) -> None:
    """SIGTERM while calls are in flight in both workers."""
    workers = start(2)
    clients = [connect(workers.endpoint) for _ in range(8)]
    for client in clients:
        ask(client)
    with ThreadPoolExecutor(8) as threads:
        pending = [threads.submit(ask, client, SLOW) for client in clients]
        wait_until(
            lambda: workers.metric("tidings_rpc_server_in_flight") == 8,
            PATIENCE_S,
            "8 calls in flight",
        )
        workers.signal(signal.SIGTERM)
        wait_until(lambda: has_lines(workers, "rpc_server_draining", 2), PATIENCE_S, "the drain")
        workers.end_slow()
        assert all(future.result(PATIENCE_S) for future in pending)

    assert workers.exit_code() == 0
    assert len(workers.lines("rpc_server_stopped")) == 2


def test_a_second_generation_ends_the_first(start: StartWorkers) -> None:
    """Retired workers wait for their last client; they do not pile up."""
    workers = start(1, idle_timeout_s=60)
    host, port = workers.endpoint.split(":")
    with socket.create_connection((host, int(port))):  # says nothing, and stays
        wait_until(lambda: workers.metric("tidings_rpc_server_connections") == 1, PATIENCE_S, "it")
        for generation in (2, 3, 4):
            workers.signal(signal.SIGHUP)
            wait_until(
                lambda wanted=generation: len(workers.lines("rpc_server_started")) == wanted,  # type: ignore[misc]
                PATIENCE_S,
                "the generation",
            )
            wait_until(
                lambda: len(workers.pids()) <= 2, PATIENCE_S, "the end of the one before the last"
            )


# A start that takes long.


def test_a_worker_that_loads_is_waited_for_and_one_that_hangs_is_not(
    start: StartWorkers, connect: Connect, tmp_path: Path
) -> None:
    """Trap: a worker that read a million articles was killed after a minute, and the next one, and
    the next. One that comes no further is still killed, whatever it told before."""
    loading, hanging = tmp_path / "loading", tmp_path / "hanging"
    for flag in (loading, hanging):
        flag.touch()
    # Longer than a busy machine keeps a worker from its next word.
    workers = start(1, ready=False, start_s=8)
    wait_until(lambda: has_lines(workers, "worker_started", 1), PATIENCE_S, "a worker")
    # Longer than a start without progress may take.
    time.sleep(12)
    assert (workers.lines("worker_hung"), workers.is_ready()) == ([], False)

    loading.unlink()
    wait_until(lambda: workers.lines("worker_hung") != [], PATIENCE_S, "the worker to be killed")
    hanging.unlink()
    wait_until(workers.is_ready, PATIENCE_S, "the next worker")
    assert ask(connect(workers.endpoint)) in workers.pids()


def test_a_worker_that_loads_can_be_stopped(start: StartWorkers, tmp_path: Path) -> None:
    """Not only once it has loaded, or killed."""
    (tmp_path / "loading").touch()
    workers = start(1, ready=False)
    wait_until(lambda: has_lines(workers, "worker_started", 1), PATIENCE_S, "a worker")
    workers.signal(signal.SIGTERM)

    assert workers.exit_code() == 0
    assert workers.lines("worker_killed") == []
