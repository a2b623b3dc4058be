"""Puts files where a web server reads them: whole or not at all, and only if they changed.

Written aside in the same folder, fsynced, renamed over the old one: a reader gets the last page or the new one, never
half of either, and so does whoever switches the machine on again after a power cut.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


class SiteFolder:
    """A folder of pages. Paths are relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written = 0
        self._touched: set[Path] = set()

    def write(self, path: str, content: bytes) -> None:
        """Make `path` hold `content`; nothing happens if it does.

        Raises:
            OSError: the old content is still there.
        """
        target = self.root / path
        if _read(target) == content:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        self.written += 1
        self._touched.add(target.parent)

    def delete(self, path: str) -> None:
        """Remove a page that is there no more."""
        with suppress(FileNotFoundError):
            (self.root / path).unlink()
            self._touched.add((self.root / path).parent)

    def read(self, path: str) -> bytes | None:
        return _read(self.root / path)

    def settle(self) -> None:
        """Make the renames themselves survive a power cut; once at the end, since it costs as much as a write."""
        for folder in self._touched:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._touched.clear()

    def sweep(self) -> None:
        """Remove what a killed build left behind."""
        for leftover in self.root.rglob(".*.new"):
            with suppress(FileNotFoundError):
                leftover.unlink()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
