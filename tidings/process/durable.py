"""Files that are still there after a power cut.

For what is written aside and then renamed: the file lasts once its bytes are synced, the rename
once its folder is.

    write_synced(aside, content)
    aside.replace(path)
    sync_folder(path.parent)
"""

from __future__ import annotations

import os
from pathlib import Path


def write_synced(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file that is on the disk when this returns.

    Args:
        path: the file; what it held is lost.
        content: all of it.
        mode: who may read it, under any umask.

    Raises:
        OSError: there is no room, or nothing may be written there.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Have what was renamed in a folder stay so."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
