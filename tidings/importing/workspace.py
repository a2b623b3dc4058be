"""The files beside an import, in VAR_DIR/import: what it refused, and how far it has come.

The checkpoint follows the database and never leads it: it is written after a commit, and believed
only if the article it names is there, so neither a lost database nor another one can make a run
skip rows. Two imports of the same name at once each get files of their own. Rejected: keeping
progress in the database, where every import would leave rows.

    with open_workspace(Path("var/import"), "tides.jsonl") as workspace:
        workspace.begin()
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, TextIO

import msgspec

from tidings.importing.report import Counts
from tidings.importing.rows import Reject

FOLDER = "import"
MAX_AT_ONCE = 100


class Checkpoint(msgspec.Struct, frozen=True):
    """How far an import has come.

    Attributes:
        of: what is imported, into which database.
        counts: what became of the rows that are committed.
        rejects_bytes: how long the reject file was then.
        witness: names what was committed last: an article by its source id, or an event.
        lines: of a file of events, how many are done with.
    """

    of: str
    counts: Counts
    rejects_bytes: int
    witness: str
    lines: int = 0


@dataclass(slots=True)
class Workspace:
    """The reject file and the checkpoint of one running import."""

    rejects_path: Path
    _checkpoint_path: Path
    _rejects: BinaryIO

    def read_checkpoint(self, of: str) -> Checkpoint | None:
        """The checkpoint of an interrupted import of exactly this, if there is one."""
        try:
            checkpoint = msgspec.json.decode(self._checkpoint_path.read_bytes(), type=Checkpoint)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        is_whole = checkpoint.rejects_bytes <= os.fstat(self._rejects.fileno()).st_size
        return checkpoint if checkpoint.of == of and is_whole else None

    def begin(self, rejects_bytes: int = 0) -> None:
        """Keep this much of the reject file, none for an import that starts anew."""
        self._rejects.truncate(rejects_bytes)
        self._rejects.seek(0, os.SEEK_END)

    def add_reject(self, reject: Reject) -> None:
        """Append a reject: one JSON object with the place, the `reason`, and the `row` as it was
        found."""
        place = {name: value for name, value in asdict(reject.place).items() if value is not None}
        line = json.dumps(place | {"reason": reject.reason, "row": reject.row}, default=str)
        self._rejects.write(line.encode() + b"\n")

    def save_checkpoint(self, of: str, counts: Counts, witness: str, lines: int = 0) -> None:
        """Say that all rows up to here are committed."""
        self._rejects.flush()
        checkpoint = Checkpoint(of, counts, self._rejects.tell(), witness, lines)
        fresh = self._checkpoint_path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(checkpoint))
        fresh.replace(self._checkpoint_path)

    def finish(self) -> None:
        """The import is complete; there is nothing to come back to."""
        self._checkpoint_path.unlink(missing_ok=True)


@contextmanager
def open_workspace(folder: Path, name: str) -> Iterator[Workspace]:
    """The files of an import called `name`, locked against another one until the block ends or the
    process dies.

    Raises:
        OSError: they cannot be written.
    """
    lock, stem = _lock(folder, name)
    with lock, open(folder / f"{stem}.rejects.jsonl", "ab+") as rejects:
        path = Path(rejects.name)
        try:
            yield Workspace(path, folder / f".{stem}.checkpoint", rejects)
        finally:
            rejects.flush()
            if not path.stat().st_size:
                path.unlink()


def _lock(folder: Path, name: str) -> tuple[TextIO, str]:
    for number in count(1):
        stem = name if number == 1 else f"{name}.{number}"
        lock = open(folder / f".{stem}.lock", "w")  # noqa: SIM115 - the caller closes it, and with it the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if number == MAX_AT_ONCE:
                raise
        else:
            return lock, stem
    raise AssertionError("count() does not end")
