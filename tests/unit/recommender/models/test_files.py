"""A model is there as a whole or not at all, and what is wrong with one is said in words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.recommender.models.files import (
    BLEND,
    NO_POINTER,
    About,
    BadModelError,
    Kind,
    ModelFolder,
    TrainingRunsError,
)

ABOUT = About(Kind.RANKER, features=("age", "hot"), figures={"hit10": 0.6})
ARRAYS = {"leaf": np.arange(4.0), "feature": np.arange(3, dtype=np.int32)}


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


@pytest.fixture
def model(folder: ModelFolder) -> str:
    return folder.publish(ABOUT, ARRAYS)


def file_of(tmp_path: Path, model: str, name: str) -> Path:
    return tmp_path / "models" / model / name


def verdict(folder: ModelFolder, model: str) -> str:
    with pytest.raises(BadModelError) as caught:
        folder.read(model, Kind.RANKER)
    (listed,) = [each for each in folder.listed() if each.name == model]
    assert listed.verdict == str(caught.value)
    return listed.verdict


def test_a_model_comes_back_as_it_was_published(folder: ModelFolder, model: str) -> None:
    read = folder.read(model, Kind.RANKER)
    assert read.manifest.about == ABOUT
    assert {name: array.tolist() for name, array in read.arrays.items()} == {
        name: array.tolist() for name, array in ARRAYS.items()
    }
    assert [listed.verdict for listed in folder.listed()] == ["whole"]


def test_a_site_without_models_has_none(folder: ModelFolder) -> None:
    assert folder.names() == []
    assert folder.pointer(Kind.RANKER) == NO_POINTER
    assert folder.prune(keep=0) == []


def test_the_pointer_names_what_is_used_and_changes_with_each_use(
    folder: ModelFolder, model: str
) -> None:
    folder.use(Kind.RANKER, model)
    first = folder.pointer(Kind.RANKER)
    folder.use(Kind.RANKER, model)
    again = folder.pointer(Kind.RANKER)
    assert first.name == again.name == model
    assert first != again
    assert folder.pointer(Kind.NEIGHBOURS) == NO_POINTER


def lose_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def cut_manifest(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text[: len(text) // 2])


def lose_array(path: Path) -> None:
    (path / "leaf.npy").unlink()


def cut_array(path: Path) -> None:
    os.truncate(path / "leaf.npy", 50)


def change_a_byte(path: Path) -> None:
    data = bytearray((path / "leaf.npy").read_bytes())
    data[-1] ^= 1
    (path / "leaf.npy").write_bytes(data)


def change_format(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 9}))


def name_a_file_elsewhere(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["arrays"]["../leaf"] = manifest["arrays"]["leaf"]
    (path / "manifest.json").write_text(json.dumps(manifest))


def forge(path: Path, data: bytes) -> None:
    """A file whose checksum fits, as only the one who writes the manifest can make it."""
    (path / "leaf.npy").write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["arrays"]["leaf"] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
    }
    (path / "manifest.json").write_text(json.dumps(manifest))


def put_a_pickle(path: Path) -> None:
    forge(path, pickle.dumps({"leaf": 1}))


def put_nothing(path: Path) -> None:
    forge(path, b"")


def put_an_archive(path: Path) -> None:
    np.savez(path / "several.npz", leaf=np.ones(4))
    forge(path, (path / "several.npz").read_bytes())


def put_more_than_there_is_memory_for(path: Path) -> None:
    data = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(data, header)
    forge(path, data.getvalue())


def put_nan(path: Path) -> None:
    np.save(path / "leaf.npy", np.array([1.0, np.nan, 1.0, 1.0]))
    forge(path, (path / "leaf.npy").read_bytes())


def put_words(path: Path) -> None:
    np.save(path / "leaf.npy", np.array(["a", "b"]))
    forge(path, (path / "leaf.npy").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lose_manifest, "not written to its end"),
        (cut_manifest, "manifest.json cannot be read"),
        (lose_array, "leaf.npy cannot be read"),
        (cut_array, "leaf.npy has 50 bytes, and 160 were written"),
        (change_a_byte, "the checksum of leaf.npy differs"),
        (change_format, "format 9, and this release reads 1"),
        (name_a_file_elsewhere, "files outside of its folder"),
        (put_a_pickle, "leaf.npy is no array"),
        (put_nothing, "leaf.npy is no array"),
        (put_an_archive, "leaf.npy is no array"),
        (put_more_than_there_is_memory_for, "leaf.npy is no array"),
        (put_nan, "leaf.npy holds NaN or infinity"),
        (put_words, "no numbers"),
    ],
)
def test_a_spoiled_model_is_refused_with_a_verdict_and_not_used(
    folder: ModelFolder, tmp_path: Path, model: str, spoil: Callable[[Path], None], why: str
) -> None:
    good = folder.publish(ABOUT, ARRAYS)
    folder.use(Kind.RANKER, good)
    spoil(tmp_path / "models" / model)
    assert why in verdict(folder, model)
    with pytest.raises(BadModelError, match=why):
        folder.use(Kind.RANKER, model)
    assert folder.pointer(Kind.RANKER).name == good


@pytest.mark.parametrize("name", ["", "nothing", "..", "../models", "ranker-20260101T000000-0000"])
def test_a_name_that_is_no_model_is_refused(folder: ModelFolder, model: str, name: str) -> None:
    with pytest.raises(BadModelError, match="there is no model"):
        folder.read(name, Kind.RANKER)


def test_a_model_of_another_kind_is_refused(folder: ModelFolder, model: str) -> None:
    with pytest.raises(BadModelError, match="is a model of ranker, not of neighbours"):
        folder.use(Kind.NEIGHBOURS, model)


@pytest.mark.parametrize("array", [np.array([np.inf]), np.array([object()], dtype=object)])
def test_what_is_no_number_is_not_published(folder: ModelFolder, array: NDArray[Any]) -> None:
    with pytest.raises(BadModelError):
        folder.publish(ABOUT, {"leaf": array})
    assert folder.names() == []


def test_a_full_disk_leaves_no_model(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        folder.publish(ABOUT, ARRAYS)
    assert list((tmp_path / "models").iterdir()) == []


def test_pruning_keeps_the_newest_and_the_one_in_use_and_sweeps_up(
    folder: ModelFolder, tmp_path: Path
) -> None:
    made = [
        folder.publish(ABOUT, ARRAYS, now=datetime(2026, 1, day, tzinfo=UTC)) for day in range(1, 6)
    ]
    other = folder.publish(About(Kind.NEIGHBOURS), ARRAYS, now=datetime(2025, 1, 1, tzinfo=UTC))
    folder.use(Kind.RANKER, made[0])
    (tmp_path / "models" / ".unfinished-ranker-20260101T000000-0000").mkdir()
    with folder.lock():
        removed = folder.prune(keep=2)
    assert sorted(removed) == sorted([".unfinished-ranker-20260101T000000-0000", *made[1:3]])
    assert folder.names() == [other, made[0], *made[3:]]


def test_two_processes_do_not_train_at_once(folder: ModelFolder) -> None:
    with folder.lock(), pytest.raises(TrainingRunsError), folder.lock():
        pass
    with folder.lock():
        pass


def test_blend_is_always_there(folder: ModelFolder) -> None:
    folder.use(Kind.RANKER, BLEND)
    assert folder.pointer(Kind.RANKER).name == BLEND
