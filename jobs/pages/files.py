"""Puts files where a web server reads them: whole or not at all, and only if they changed.

Written aside in the same folder, fsynced, renamed over the old one: a reader gets the last page or
the new one, never half of either, also after a power cut. What stands in the folder is looked up
there and not in a record of what was written, which a build that was killed could not finish. One
builder at a time, by a lock on the folder itself: the job's lock is the database's, and two sites
may be given one folder.

    with open_folder(Path("var/site")) as folder:
        folder.write("index.html", content)
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

from tidings.process.durable import sync_folder, write_synced

LOCK = ".lock"
_ASIDE = ".new"
# Syncs of several files share the disk's flush; a second of waiting becomes a third of one.
_WRITERS = 8
# Contents in memory at once.
_BATCH = 256
# A build that changes one article takes about a tenth of a second.
_LOOK_AGAIN_S = 0.05


class FolderInUseError(Exception):
    """Another process is writing in this folder."""


class SiteFolder:
    """A folder of pages, for one builder. Paths are relative to it; `paths` are the files that
    stand there."""

    def __init__(self, root: Path, writers: ThreadPoolExecutor) -> None:
        self.root = root
        self.paths = set(_sweep(root))
        self._writers = writers
        self._touched: set[Path] = set()

    def write(self, path: str, content: bytes) -> bool:
        """Make `path` hold `content`, and say whether it did not before.

        Raises:
            OSError: the old content is still there.
        """
        if not self._set_aside(path, content):
            return False
        self._publish(path)
        return True

    def write_in_order(self, files: Iterable[tuple[str, bytes]]) -> int:
        """Make all of these hold their contents, one after the other; returns how many did not
        before.

        A batch is synced first, several files at once, so that they change within milliseconds of
        each other.

        Raises:
            OSError: the old content is still there, from some file on.
        """
        written = 0
        remaining = iter(files)
        while aside := [
            (path, self._writers.submit(self._set_aside, path, content))
            for path, content in islice(remaining, _BATCH)
        ]:
            wait([done for _, done in aside])
            differing = [path for path, done in aside if done.result()]
            for path in differing:
                self._publish(path)
            written += len(differing)
        return written

    def _set_aside(self, path: str, content: bytes) -> bool:
        target = self.root / path
        if path in self.paths and _read(target) == content:
            return False
        _make_folder(target.parent)
        write_synced(_aside(target), content, mode=0o644)
        return True

    def _publish(self, path: str) -> None:
        target = self.root / path
        _aside(target).replace(target)
        self.paths.add(path)
        self._touched.add(target.parent)

    def delete(self, path: str) -> None:
        """Remove a page that is there no more, and its folder with the last one of it."""
        target = self.root / path
        with suppress(FileNotFoundError):
            target.unlink()
            self._touched.add(target.parent)
        self.paths.discard(path)
        if target.parent != self.root:
            with suppress(OSError):
                target.parent.rmdir()

    def read(self, path: str) -> bytes | None:
        return _read(self.root / path)

    def settle(self) -> None:
        """Make the renames themselves survive a power cut; once at the end, since it costs as much
        as a write."""
        parents = {
            parent
            for folder in self._touched
            for parent in folder.parents
            if parent.is_relative_to(self.root)
        }
        for folder in self._touched | parents:
            with suppress(FileNotFoundError):
                sync_folder(folder)
        self._touched.clear()


@contextmanager
def open_folder(root: Path, *, patience_s: float = 0.0) -> Iterator[SiteFolder]:
    """The folder, made if it is not there, without what a killed build left behind.

    Args:
        patience_s: how long another builder is waited for.

    Raises:
        FolderInUseError: another process has it open.
        OSError: it cannot be made or read.
    """
    _make_folder(root)
    with (root / LOCK).open("ab") as lock:
        give_up_s = time.monotonic() + patience_s
        while not _is_locked(lock):
            if time.monotonic() >= give_up_s:
                raise FolderInUseError(f"another build is writing in {root}")
            time.sleep(_LOOK_AGAIN_S)
        try:
            with ThreadPoolExecutor(_WRITERS, thread_name_prefix="pages") as writers:
                yield SiteFolder(root, writers)
        except BaseException:  # of any kind; on a full disk what was set aside is in the way
            list(_sweep(root))
            raise


def _is_locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{_ASIDE}")


def _sweep(root: Path) -> Iterator[str]:
    """The files below `root`; those written aside and never renamed are removed."""
    for folder, _, names in os.walk(root, onerror=_raise):
        inside = os.path.relpath(folder, root)
        for name in names:
            if name.startswith(".") and name.endswith(_ASIDE):
                Path(folder, name).unlink(missing_ok=True)
            else:
                yield name if inside == "." else f"{inside}/{name}"


def _make_folder(path: Path) -> None:
    """With what is above it, for a web server that is another user, under any umask."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def _raise(ex: OSError) -> None:
    raise ex


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
