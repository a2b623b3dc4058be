"""Metrics of several workers as one, wherever their files are."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, multiprocess, values
from structlog.testing import capture_logs

from tidings.process import shared_metrics
from tidings.process.errors import CannotStartError
from tidings.process.shared_metrics import forget_worker, share_metrics


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process decides once at its start is undone at the end of the test."""
    for name in ("MmapedDict", "ValueClass"):
        monkeypatch.setattr(values, name, getattr(values, name))
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(shared_metrics, "_told_in", [])


@pytest.fixture
def without_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shared_metrics, "SHARED_MEMORY", tmp_path / "no such place")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk without room for one more byte."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        yield


def total(folder: Path, name: str) -> float | None:
    """What a scrape would see."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry.get_sample_value(name)


def test_metrics_of_forked_workers_are_added_up(tmp_path: Path) -> None:
    """Two workers count on files of the process's own, which a restart begins anew; its neighbours'
    are not touched."""
    neighbour = share_metrics(tmp_path, "gateway", "127.0.0.1:8000") / "counter_1.db"
    neighbour.touch()
    script = """
import os, sys
from pathlib import Path
from tidings.process.shared_metrics import registry_to_show, share_metrics
from tidings.process.worker_numbers import take_number
share_metrics(Path(sys.argv[1]), "recommender", "127.0.0.1:9090")
from prometheus_client import Counter, generate_latest
counter = Counter("things", "Things")
for number in (1, 2):
    if os.fork() == 0:
        take_number(number)
        counter.inc(number)
        os._exit(0)
    os.wait()
sys.stdout.write(generate_latest(registry_to_show()).decode())
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "things_total 3.0" in done.stdout

    assert neighbour.exists()


def test_the_files_are_in_memory_and_their_owners_alone(tmp_path: Path) -> None:
    """Two sites on one machine have folders of their own, and no other user may read them."""
    folder = share_metrics(tmp_path / "one", "recommender", "127.0.0.1:9090")
    other = share_metrics(tmp_path / "other", "recommender", "127.0.0.1:9090")

    assert folder.parent == other.parent == shared_metrics.SHARED_MEMORY
    assert folder != other
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(other)


@pytest.mark.usefixtures("without_shared_memory")
def test_a_machine_without_shared_memory_has_them_on_disk(tmp_path: Path) -> None:
    folder = share_metrics(tmp_path, "recommender", "127.0.0.1:9090")

    assert folder == tmp_path / "metrics" / "recommender-127.0.0.1-9090"


def test_the_files_go_when_the_process_ends(tmp_path: Path) -> None:
    """A site that is deleted leaves nothing in memory; a worker that ends takes nothing along."""
    script = """
import os, sys
from pathlib import Path
from tidings.process.shared_metrics import share_metrics
folder = share_metrics(Path(sys.argv[1]), "recommender", "127.0.0.1:9090")
if os.fork() == 0:
    sys.exit()
os.wait()
print(folder, folder.exists())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    name, _, was_there = done.stdout.strip().rpartition(" ")

    assert was_there == "True"
    assert not Path(name).exists()


def test_a_process_that_runs_already_keeps_its_files(tmp_path: Path) -> None:
    """An operator types the same start command again: the second one may not empty the metrics of
    the first."""
    holding = """
import sys
from pathlib import Path
from tidings.process.shared_metrics import share_metrics
folder = share_metrics(Path(sys.argv[1]), "recommender", "127.0.0.1:9090")
(folder / "counter_1.db").touch()
print(folder, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", holding, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        folder = Path(first.stdout.readline().strip())
        with pytest.raises(
            CannotStartError, match=r"recommender runs already for 127\.0\.0\.1:9090"
        ):
            share_metrics(tmp_path, "recommender", "127.0.0.1:9090")
        share_metrics(tmp_path, "recommender", "127.0.0.1:9091")

        assert [path.name for path in folder.iterdir()] == ["counter_1.db"]
        first.communicate(timeout=20)
    assert list(share_metrics(tmp_path, "recommender", "127.0.0.1:9090").iterdir()) == []


def test_a_file_that_has_grown_is_read_back(tmp_path: Path) -> None:
    """The next worker of that number goes on counting where the last one stopped."""
    folder = share_metrics(tmp_path, "recommender", "127.0.0.1:9090")
    for _ in range(2):
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: 1)  # type: ignore[no-untyped-call]
        many = Counter("many", "Many", ["which"], registry=CollectorRegistry())
        for which in range(1000):
            many.labels(f"{which:0100}").inc()

    assert (folder / "counter_1.db").stat().st_blocks * 512 >= 256 * 1024, "all its room is taken"
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    assert registry.get_sample_value("many_total", {"which": f"{999:0100}"}) == 2


@pytest.mark.usefixtures("full")
def test_without_any_room_a_process_counts_for_itself(tmp_path: Path) -> None:
    """Trap: a file that is left empty fails every scrape. One line says it, and counting goes
    on."""
    folder = share_metrics(tmp_path, "recommender", "127.0.0.1:9090")
    with capture_logs() as logs:
        few = Counter("few", "Few", registry=CollectorRegistry())
        many = Counter("more", "More", ["which"], registry=CollectorRegistry())
        for which in range(1000):
            many.labels(f"{which:0100}").inc()
        few.inc(2)

    assert [line["event"] for line in logs] == ["metrics_not_written"]
    assert list(folder.iterdir()) == []
    assert few._value.get() == 2
    assert many.labels(f"{999:0100}")._value.get() == 1


def test_what_was_written_before_the_disk_was_full_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays as it was; what comes after it is counted in memory."""
    folder = share_metrics(tmp_path, "recommender", "127.0.0.1:9090")
    early = Counter("early", "Early", registry=CollectorRegistry())
    early.inc(3)

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    many = Counter("later", "Later", ["which"], registry=CollectorRegistry())
    for which in range(2000):
        many.labels(f"{which:0100}").inc()
    early.inc()

    assert early._value.get() == 4
    assert total(folder, "early_total") == 3


def test_forgetting_a_worker_removes_what_it_held_and_keeps_what_it_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a folder for the metrics there is nothing to remove."""
    monkeypatch.delitem(os.environ, "PROMETHEUS_MULTIPROC_DIR")
    forget_worker(2)
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for name in ("gauge_livesum_2.db", "gauge_livesum_12.db", "counter_2.db"):
        (tmp_path / name).touch()
    forget_worker(2)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "counter_2.db",
        "gauge_livesum_12.db",
    ]
