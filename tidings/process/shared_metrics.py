"""The metrics of several worker processes as one: the one owner of prometheus_client's files.

prometheus_client keeps what each process has counted in mapped files, and adds them up when it is
asked. They are kept in shared memory where the machine has it, in a folder that only their owner
may read, since a page of a mapped file that finds no room on its disk kills the process that
writes. For the same reason all room that a file will need is taken before it is used: without it, a
process counts on in memory, says so once and serves. The files bear the workers' numbers and not
process ids, or a worker that dies every few seconds would fill the place.

    share_metrics(settings.var_dir, "recommender", "127.0.0.1:9090")
    import services.recommender.app    # only now: what counts finds the files
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import mmap
import os
import re
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Metric, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

from tidings.process.errors import CannotStartError
from tidings.process.worker_numbers import my_number

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own within it, for its owner alone
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_FIRST_BYTES = 64 * 1024
_log = structlog.get_logger()


def share_metrics(var_dir: Path, process: str, bind: str) -> Path:
    """Let the forked workers of one process add up their metrics, from when it is called until this
    process ends. Call it before importing a module that has metrics.

    Args:
        var_dir: keeps the lock, which tells a second start of the same process from another site's.
        bind: the address of the process; those on different addresses may share a `var_dir`.

    Returns:
        The folder of the files.

    Raises:
        CannotStartError: such a process runs already; its files were left alone.
    """
    name = f"{process}-{re.sub(r'[^A-Za-z0-9.]+', '-', bind)}"
    on_disk = var_dir / "metrics" / name
    on_disk.parent.mkdir(parents=True, exist_ok=True)
    lock = on_disk.with_name(f"{name}.lock")
    if not _hold(lock):
        raise CannotStartError(
            f"{process} runs already for {bind}, with its files in {var_dir.absolute()}"
        )
    folder = _make_anew(_in_memory(lock, process)) or _make_anew(on_disk)
    if folder is None:
        raise CannotStartError(f"cannot make the folder {on_disk.absolute()} anew")
    atexit.register(_remove_if_still, os.getpid(), folder)
    os.environ[_FOLDER] = str(folder)
    values.MmapedDict = _RoomyDict  # type: ignore[attr-defined, assignment]
    values.ValueClass = values.MultiProcessValue(process_identifier=my_number)  # type: ignore[no-untyped-call]
    return folder


def is_shared() -> bool:
    """True if what this process counts is read from files, perhaps by another process."""
    return _FOLDER in os.environ


def forget_worker(number: int) -> None:
    """What a dead worker counted still counts; what it held is gone."""
    if is_shared():
        multiprocess.mark_process_dead(number)  # type: ignore[no-untyped-call]


def registry_to_show() -> CollectorRegistry:
    """What a scrape of this process is to see: all its workers, if it has some."""
    if not is_shared():
        return REGISTRY
    registry = CollectorRegistry()
    _WorkersCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class _WorkersCollector(multiprocess.MultiProcessCollector):
    def collect(self) -> Iterable[Metric]:
        """Look again if a worker is just making its file, which for an instant is empty."""
        for pause_s in (0.01, 0.05, 0.2):
            try:
                return self._collect()
            except struct.error:
                time.sleep(pause_s)
        return self._collect()

    def _collect(self) -> Iterable[Metric]:
        found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return found


class _RoomyDict(MmapedDict):
    """The file of one kind of metric, which has all its room, or else is this process's memory.

    It relies on names inside prometheus_client (seen with 0.25); the tests drive what is built on
    them.
    """

    def __init__(self, filename: str) -> None:
        self._fname = filename
        self._f: Any = None
        self._positions: dict[str, int] = {}
        self._capacity = _FIRST_BYTES
        self._m = self._open(filename) or mmap.mmap(-1, self._capacity)
        self._used = int.from_bytes(self._m[:4], sys.byteorder) or 8
        self._m[:4] = self._used.to_bytes(4, sys.byteorder)
        for key, _, _, position in self._read_all_values():  # type: ignore[no-untyped-call]
            self._positions[key] = position

    def _open(self, filename: str) -> mmap.mmap | None:
        try:
            self._f = open(filename, "a+b")  # noqa: SIM115 - closed with this object
            length = os.fstat(self._f.fileno()).st_size
            self._capacity = max(self._capacity, length)
            return self._map(self._capacity)
        except OSError as ex:
            _tell_once(ex)
            if self._f is not None:
                # An empty file would stop the reading of all the others.
                if not self._f.tell():
                    with suppress(OSError):
                        os.unlink(filename)
                self._leave_file()
            return None

    def _map(self, size: int) -> mmap.mmap:
        os.posix_fallocate(self._f.fileno(), 0, size)
        return mmap.mmap(self._f.fileno(), size)

    def _init_value(self, key: str) -> None:
        encoded = len(key.encode())
        end = self._used + 4 + encoded + 8 - (encoded + 4) % 8 + 16
        if end > self._capacity:
            self._grow(end)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, least: int) -> None:
        while self._capacity < least:
            self._capacity *= 2
        if self._f is not None:
            try:
                self._m = self._map(self._capacity)
                return
            except OSError as ex:
                _tell_once(ex)
                self._leave_file()
        larger = mmap.mmap(-1, self._capacity)
        larger[: self._used] = self._m[: self._used]
        self._m = larger

    def _leave_file(self) -> None:
        """From here on in memory; what was written by then is still added up."""
        self._f.close()
        self._f = None

    def close(self) -> None:
        self._m.close()
        if self._f is not None:
            self._f.close()


_told_in: list[int] = []


def _tell_once(ex: OSError) -> None:
    """One line of each process, however many files there are."""
    if os.getpid() not in _told_in:
        _told_in[:] = [os.getpid()]
        _log.warning("metrics_not_written", worker=my_number(), error=ex.strerror)


def _in_memory(lock: Path, process: str) -> Path:
    """Only the holder of `lock` has this folder, which no other site has."""
    found = lock.stat()
    identity = f"{lock.absolute()} {found.st_dev} {found.st_ino}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return SHARED_MEMORY / f"tidings-metrics-{os.getuid()}-{process}-{digest}"


def _make_anew(folder: Path) -> Path | None:
    """The folder, empty and its owner's alone; None if it cannot be had."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
        # A file system that is mounted for reading, or has no room for a single file.
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


def _remove_if_still(pid: int, folder: Path) -> None:
    if os.getpid() == pid:  # a forked process runs this too
        shutil.rmtree(folder, ignore_errors=True)


def _hold(lock: Path) -> bool:
    """Hold a lock until this process ends, however it does; False if another process has it."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        # The workers do not inherit it, and may outlive this process.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True
