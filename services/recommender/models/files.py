"""Models on disk: a folder each under `VAR_DIR/models`, and a pointer for each kind.

A folder is written under another name, flushed and renamed, and never changed afterwards; a pointer
is replaced in one step. So a worker that looks at any moment finds a whole model, and a crash
leaves only a folder that nothing points to. The arrays are plain `.npy` without pickle, since a
pickled model is a program that runs when it is read. Rejected: one file a model in place of a
folder, whose figures no other tool could read.

    folder = models_of(settings.site.var_dir)
    name = folder.publish(about, {"leaf": leaf})
    folder.use(Kind.RANKER, name)
    folder.read(name, Kind.RANKER).arrays["leaf"]
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidings.process.durable import sync_folder, write_synced

FORMAT = 1
# A ranker is 20 KiB; the neighbours of 100,000 articles are 60 MiB.
MOST_BYTES = 512 * 1024 * 1024
BLEND = "blend"
UNFINISHED = ".unfinished-"
_NAME = re.compile(r"[a-z]+-\d{8}T\d{6}-[0-9a-f]{4}")
_ARRAY = re.compile(r"[a-z_]+")

Arrays = Mapping[str, NDArray[Any]]


class Kind(StrEnum):
    """What a model does: it orders candidates, or says which articles go with which."""

    RANKER = "ranker"
    NEIGHBOURS = "neighbours"


class BadModelError(Exception):
    """A model that must not be served; the message is the verdict."""


class ArrayFile(msgspec.Struct, frozen=True):
    """One `.npy` file of a model as it was written."""

    sha256: str
    bytes: int


class About(msgspec.Struct, frozen=True):
    """What a model is: known before its files are written.

    Attributes:
        features: the columns that it was trained on, in their order; none for neighbours.
        figures: what the evaluation said, by name; those of others beside it, `…_of_NAME`.
        window: the first and last moment of the data, ms, and how many events and lists it held.
        versions: of the programs that trained it.
        settings: what it was trained with, by name.
    """

    kind: Kind
    features: tuple[str, ...] = ()
    figures: Mapping[str, float] = msgspec.field(default_factory=dict)
    window: Mapping[str, int] = msgspec.field(default_factory=dict)
    versions: Mapping[str, str] = msgspec.field(default_factory=dict)
    settings: Mapping[str, float] = msgspec.field(default_factory=dict)


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`, written last: a folder without it was never finished."""

    format: int
    made_at: datetime
    about: About
    arrays: Mapping[str, ArrayFile]


class Model(NamedTuple):
    """A model as it was read, every byte checked."""

    name: str
    manifest: Manifest
    arrays: Arrays


class Listed(NamedTuple):
    """A model in its folder; `manifest` is None where `verdict` says why it cannot be served."""

    name: str
    manifest: Manifest | None
    verdict: str
    is_used: bool


class Pointer(NamedTuple):
    """What is to be used of a kind; `written` changes with each use, even of the same name."""

    name: str
    written: tuple[int, int]


NO_POINTER = Pointer(BLEND, (0, 0))


def models_of(var_dir: Path) -> ModelFolder:
    """The models of the site whose files are in `var_dir`."""
    return ModelFolder(var_dir / "models")


class ModelFolder:
    """The models of one site.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, about: About, arrays: Arrays, now: datetime | None = None) -> str:
        """Write a model; it is there as a whole or not at all, and not in use. Returns its name.

        Raises:
            BadModelError: an array holds NaN, infinity or objects.
            OSError: the disk does not take it.
        """
        now = now or datetime.now(UTC)
        for array_name, array in arrays.items():
            _check_numbers(array_name, array)
        name = f"{about.kind}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self._path.mkdir(parents=True, exist_ok=True)
        unfinished = self._path / (UNFINISHED + name)
        unfinished.mkdir()
        try:
            files = {
                array_name: _write_array(unfinished / f"{array_name}.npy", array)
                for array_name, array in arrays.items()
            }
            manifest = Manifest(FORMAT, now, about, files)
            encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            write_synced(unfinished / "manifest.json", encoded)
            sync_folder(unfinished)
            unfinished.rename(self._path / name)
            sync_folder(self._path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return name

    def read(self, name: str, kind: Kind) -> Model:
        """A model with all its arrays.

        Raises:
            BadModelError: it is of another kind, or not as it was published.
        """
        manifest = self.read_manifest(name)
        if manifest.about.kind != kind:
            raise BadModelError(f"{name} is a model of {manifest.about.kind}, not of {kind}")
        arrays = {
            array_name: _read_array(self._path / name / f"{array_name}.npy", written)
            for array_name, written in manifest.arrays.items()
        }
        return Model(name, manifest, arrays)

    def read_manifest(self, name: str) -> Manifest:
        """What a model says of itself.

        Raises:
            BadModelError: there is no such model, or it was not written to its end.
        """
        if not _NAME.fullmatch(name) or not (self._path / name).is_dir():
            raise BadModelError(f"there is no model {name!r}")
        try:
            manifest = msgspec.json.decode(
                (self._path / name / "manifest.json").read_bytes(), type=Manifest
            )
        except FileNotFoundError as ex:
            raise BadModelError("it has no manifest.json: it was not written to its end") from ex
        except (OSError, msgspec.MsgspecError) as ex:
            raise BadModelError(f"its manifest.json cannot be read: {ex}") from ex
        if manifest.format != FORMAT:
            raise BadModelError(
                f"its files are of format {manifest.format}, and this release reads {FORMAT}"
            )
        if not all(_ARRAY.fullmatch(array_name) for array_name in manifest.arrays):
            raise BadModelError("its manifest.json names files outside of its folder")
        return manifest

    def names(self) -> list[str]:
        """Every model, finished or not, oldest first."""
        with suppress(FileNotFoundError):
            found = [path.name for path in self._path.iterdir() if _NAME.fullmatch(path.name)]
            return sorted(found, key=lambda name: name.partition("-")[2])
        return []

    def listed(self) -> Iterator[Listed]:
        """Every model with what it says of itself, oldest first."""
        used = {self.pointer(kind).name for kind in Kind}
        for name in self.names():
            try:
                manifest = self.read_manifest(name)
                self.read(name, manifest.about.kind)
            except BadModelError as ex:
                yield Listed(name, None, str(ex), name in used)
            else:
                yield Listed(name, manifest, "whole", name in used)

    def pointer(self, kind: Kind) -> Pointer:
        """What is to be used of this kind; `NO_POINTER` where nothing was ever chosen."""
        try:
            with (self._path / f"{kind}.in_use").open("rb") as file:
                status = os.fstat(file.fileno())
                name = file.read(200).decode("ascii", errors="replace").strip()
        except FileNotFoundError:
            return NO_POINTER
        return Pointer(name, (status.st_mtime_ns, status.st_ino))

    def use(self, kind: Kind, name: str) -> None:
        """Let every worker take this model within a second or two; `BLEND` for none.

        Raises:
            BadModelError: the model cannot be served, so the pointer stays as it was.
        """
        if name != BLEND:
            self.read(name, kind)
        self._path.mkdir(parents=True, exist_ok=True)
        written = self._path / f"{kind}.in_use.{secrets.token_hex(4)}"
        write_synced(written, f"{name}\n".encode())
        written.replace(self._path / f"{kind}.in_use")
        sync_folder(self._path)

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` of each kind, and what a crash left unfinished.

        What is in use stays. Returns the names removed.
        """
        used = {self.pointer(kind).name for kind in Kind}
        removed = []
        for kind in Kind:
            mine = [name for name in self.names() if name.startswith(f"{kind}-")]
            removed += [name for name in mine[: max(len(mine) - keep, 0)] if name not in used]
        with suppress(FileNotFoundError):
            removed += [path.name for path in self._path.glob(f"{UNFINISHED}*")]
        for name in removed:
            shutil.rmtree(self._path / name)
        return removed

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for what a training works with. It goes with its block; where the process is
        killed in there, `prune` removes it."""
        return tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self._path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """For the one process that trains; prune within it, or a model that is being written looks
        like one that a crash left.

        Raises:
            TrainingRunsError: another process trains for this site.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        with (self._path / "training.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as ex:
                raise TrainingRunsError("another process trains for this site") from ex
            yield


class TrainingRunsError(Exception):
    """Two processes would train, or remove each other's files, at once."""


def _write_array(path: Path, array: NDArray[Any]) -> ArrayFile:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getvalue()
    write_synced(path, data)
    return ArrayFile(hashlib.sha256(data).hexdigest(), len(data))


def _read_array(path: Path, written: ArrayFile) -> NDArray[Any]:
    """Read, check and only then parse the same bytes, so that nothing can change between."""
    try:
        size = path.stat().st_size
        if size != written.bytes or size > MOST_BYTES:
            raise BadModelError(f"{path.name} has {size} bytes, and {written.bytes} were written")
        data = path.read_bytes()
    except OSError as ex:
        raise BadModelError(f"{path.name} cannot be read: {ex.strerror}") from ex
    if hashlib.sha256(data).hexdigest() != written.sha256:
        raise BadModelError(f"the checksum of {path.name} differs from the one in manifest.json")
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as ex:  # numpy raises what its parser does, and MemoryError for a huge shape
        raise BadModelError(f"{path.name} is no array: {ex}") from ex
    _check_numbers(path.name, array)
    return array


def _check_numbers(name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biuf":
        raise BadModelError(f"{name} holds {array.dtype}, no numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadModelError(f"{name} holds NaN or infinity")
