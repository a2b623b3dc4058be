"""A disk that is full stops writing, never serving."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rpc.conftest import Connect
from tests.integration.rpc.masters import StartWorkers, Workers, masters
from tests.integration.rpc.peers import PATIENCE_S
from tests.lab.servers import wait_until
from tidings_idl.recommend.ttypes import UserRequest

SHARED_MEMORY = "/dev/shm"
MOUNT = 'for place in $0; do mount -t tmpfs -o size=1m tmpfs "$place"; done; exec "$@"'


@pytest.fixture
def start_workers(tmp_path: Path) -> Iterator[StartWorkers]:
    with masters(tmp_path) as start:
        yield start


def with_small_disks(*places: str) -> list[str]:
    """A command that runs another one where these folders are small disks of its own."""
    mapped = ["unshare", "--mount", "--map-root-user", "--propagation", "private"]
    return [*mapped, "sh", "-ec", MOUNT, " ".join(places)]


def fill(workers: Workers, place: str) -> None:
    """Write there until nothing more can be written, as the process sees that folder."""
    seen_by_it = Path(f"/proc/{workers.process.pid}/root{place}")
    with (
        (seen_by_it / "filling").open("wb", buffering=0) as file,
        pytest.raises(OSError, match="No space left"),
    ):
        write_for_ever(file)


def write_for_ever(file: io.RawIOBase) -> None:
    while True:
        file.write(b"x" * 4096)


@pytest.mark.parametrize("shared_memory_too", [False, True])
def test_workers_go_on_when_the_disk_of_their_metrics_is_full(
    start_workers: StartWorkers, connect: Connect, tmp_path: Path, shared_memory_too: bool
) -> None:
    """Trap: what is written into a mapped file that cannot be given a page kills the process by
    SIGBUS. Counting goes on where there is room, and without a file where there is none."""
    on_disk = tmp_path / "metrics"
    on_disk.mkdir()
    places = [str(on_disk), *([SHARED_MEMORY] if shared_memory_too else [])]
    workers = start_workers(2, within=with_small_disks(*places))
    pids = workers.pids()
    for place in places:
        fill(workers, place)
    client = connect(workers.endpoint)

    for user_id in range(1, 60):
        assert client.call("user_recommend", UserRequest(user_id=user_id)).exposure == str(user_id)
    if shared_memory_too:
        # The count is written a moment after the calls.
        wait_until(lambda: bool(told(workers)), PATIENCE_S, "the warning")
        ready = "tidings_rpc_workers_ready"
        wait_until(lambda: workers.metric(ready) == 2, PATIENCE_S, "the word of both")
        assert told(workers) == sorted(set(told(workers))), "one line of each process"
        assert "Traceback" not in workers.output()
    else:
        seconds = "tidings_rpc_server_call_seconds_count"
        wait_until(lambda: workers.metric(seconds) == 59, PATIENCE_S, "the count")
    assert client.call("user_recommend", UserRequest(user_id=60)).exposure == "60"
    wait_until(workers.is_ready, PATIENCE_S, "readiness")
    assert workers.pids() == pids
    assert workers.lines("worker_died") == []


def told(workers: Workers) -> list[int]:
    """Which workers have said that they count without a file."""
    return sorted(line["worker"] for line in workers.lines("metrics_not_written"))
