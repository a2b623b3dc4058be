"""Workers take a new model within a look, and refuse a bad one without losing the former."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.recommender.models.files import BLEND, About, Kind, ModelFolder
from services.recommender.models.loading import ModelsInUse
from services.recommender.models.trees import DTYPES, Nodes
from services.recommender.models.variants import Shares

FEATURES = ("age", "hot", "near")
CANDIDATES = np.array([[0, 1, 2], [3, 1, 0]], dtype=np.float32)


class Blend:
    name = "blend"

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros(len(features), dtype=np.float32)


def stump(feature: int, *, above: float = 1.0) -> Nodes:
    """One split: a candidate whose feature is above 1 is worth `above`, another nothing."""
    return Nodes(
        splits=np.array([1], dtype=np.int32),
        feature=np.array([feature], dtype=np.int32),
        threshold=np.array([1.0]),
        left=np.array([-1], dtype=np.int32),
        right=np.array([-2], dtype=np.int32),
        missing_left=np.array([True]),
        leaf=np.array([0.0, above]),
    )


def arrays_of(nodes: Nodes) -> dict[str, NDArray[Any]]:
    return {name: getattr(nodes, name) for name in DTYPES}


def publish(folder: ModelFolder, nodes: Nodes, features: Sequence[str] = FEATURES) -> str:
    return folder.publish(About(Kind.RANKER, tuple(features)), arrays_of(nodes))


def scores(models: ModelsInUse, reader_id: int = 1) -> list[float]:
    return list(map(float, models.of(reader_id).ranker.score(CANDIDATES)))


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path)


@pytest.fixture
def models(folder: ModelFolder) -> ModelsInUse:
    return ModelsInUse(folder, FEATURES, blend=Blend(), taste={"near": 0.5}, shares=Shares(()))


def refused() -> float:
    return sum(
        REGISTRY.get_sample_value("tidings_models_refused_total", {"kind": kind}) or 0
        for kind in Kind
    )


def test_the_hand_blend_serves_until_a_model_is_used(
    folder: ModelFolder, models: ModelsInUse
) -> None:
    models.look()
    publish(folder, stump(2))
    models.look()
    assert models.of(1).ranker.name == "blend"
    assert models.neighbours is None


def test_a_model_serves_from_the_next_look_and_the_blend_after_it(
    folder: ModelFolder, models: ModelsInUse
) -> None:
    name = publish(folder, stump(2))
    folder.use(Kind.RANKER, name)
    former = models.of(1)
    models.look()
    assert models.of(1) != former
    assert models.of(1).ranker.name == name
    assert scores(models) == [1, 0]
    assert former.ranker.score(CANDIDATES).tolist() == [0, 0]  # a request under way keeps its own
    folder.use(Kind.RANKER, BLEND)
    models.look()
    assert scores(models) == [0, 0]


def test_columns_are_found_by_name(folder: ModelFolder, models: ModelsInUse) -> None:
    folder.use(Kind.RANKER, publish(folder, stump(1), features=("hot", "near")))
    models.look()
    assert scores(models) == [1, 0]


BAD_RANKERS = {
    "another set of features": (About(Kind.RANKER, ("age", "shares")), stump(1), "shares"),
    "more columns than it names": (About(Kind.RANKER, ("age",)), stump(1), "beyond the 1"),
    "no array": (About(Kind.RANKER, FEATURES), None, "lists no"),
    "a tree in a circle": (
        About(Kind.RANKER, FEATURES),
        replace(stump(0), left=np.array([0], dtype=np.int32)),
        "hang together",
    ),
    "no features": (About(Kind.RANKER), stump(0), "beyond the 0"),
}


@pytest.mark.parametrize("bad", BAD_RANKERS)
def test_a_refused_model_is_logged_and_counted_once_and_the_former_serves_on(
    folder: ModelFolder, models: ModelsInUse, bad: str
) -> None:
    about, nodes, why = BAD_RANKERS[bad]
    folder.use(Kind.RANKER, publish(folder, stump(2)))
    models.look()
    before = refused()
    name = folder.publish(about, arrays_of(nodes) if nodes else {"leaf": np.zeros(1)})
    folder.use(Kind.RANKER, name)
    with capture_logs() as logs:
        models.look()
        models.look()
    assert [(log["event"], log["name"]) for log in logs] == [("model_refused", name)]
    assert why in logs[0]["verdict"]
    assert refused() == before + 1
    assert scores(models) == [1, 0]


def test_a_model_that_vanishes_while_it_is_used_leaves_the_blend(
    folder: ModelFolder, models: ModelsInUse, tmp_path: Path
) -> None:
    (tmp_path / "ranker.in_use").write_text("ranker-20260101T000000-0000\n")
    models.look()
    assert models.of(1).ranker.name == "blend"


@pytest.mark.parametrize("pointer", [b"", b"\xff\xfe", b"../../etc/passwd\n", b"x" * 10_000])
def test_a_spoiled_pointer_changes_nothing(
    folder: ModelFolder, models: ModelsInUse, tmp_path: Path, pointer: bytes
) -> None:
    folder.use(Kind.RANKER, publish(folder, stump(2)))
    models.look()
    (tmp_path / "ranker.in_use").write_bytes(pointer)
    models.look()
    assert scores(models) == [1, 0]
    later = publish(folder, stump(2))
    folder.use(Kind.RANKER, later)
    models.look()
    assert models.of(1).ranker.name == later


def test_a_pointer_that_cannot_be_read_changes_nothing(
    folder: ModelFolder, models: ModelsInUse, tmp_path: Path
) -> None:
    folder.use(Kind.RANKER, publish(folder, stump(2)))
    models.look()
    (tmp_path / "ranker.in_use").unlink()
    (tmp_path / "ranker.in_use").mkdir()
    models.look()
    assert scores(models) == [1, 0]


def test_neighbours_are_taken_and_bad_ones_refused(
    folder: ModelFolder, models: ModelsInUse
) -> None:
    ids = np.array([3, 5, 9])
    near = np.array([[1, 2], [0, -1], [0, 1]], dtype=np.int32)
    strength = np.array([[0.5, 0.2], [0.5, 0.0], [0.1, 0.1]], dtype=np.float32)
    arrays: dict[str, NDArray[Any]] = {"ids": ids, "near": near, "strength": strength}
    folder.use(Kind.NEIGHBOURS, folder.publish(About(Kind.NEIGHBOURS), arrays))
    models.look()
    good = models.neighbours
    assert good is not None
    assert len(good) == 3
    for name, bad in {
        "ids": ids[::-1].copy(),
        "near": near + 1,
        "strength": strength[:2],
    }.items():
        before = refused()
        folder.use(Kind.NEIGHBOURS, folder.publish(About(Kind.NEIGHBOURS), arrays | {name: bad}))
        models.look()
        assert refused() == before + 1
        assert models.neighbours is good
    folder.use(Kind.NEIGHBOURS, folder.publish(About(Kind.NEIGHBOURS), {"ids": ids}))
    models.look()
    assert models.neighbours is good
    folder.use(Kind.NEIGHBOURS, BLEND)
    models.look()
    assert models.neighbours is None


def test_readers_of_a_share_are_served_by_its_ranker_and_the_others_by_the_one_in_use(
    folder: ModelFolder,
) -> None:
    used, compared = publish(folder, stump(2)), publish(folder, stump(0))
    folder.use(Kind.RANKER, used)
    shares = Shares(("1:blend:20", f"2:{compared}:20", "3:ranker-20260101T000000-0000:20"))
    models = ModelsInUse(folder, FEATURES, blend=Blend(), taste={"near": 0.5}, shares=shares)
    models.look()
    served = {models.of(reader).variant: models.of(reader).ranker.name for reader in range(200)}
    assert served == {0: used, 1: "blend", 2: compared, 3: used}


def test_no_request_is_lost_while_models_change(folder: ModelFolder, models: ModelsInUse) -> None:
    """Each request is answered by one ranker as a whole: column 2 orders the candidates one way,
    column 0 the other."""
    expected = {publish(folder, stump(2)): [1, 0], publish(folder, stump(0)): [0, 1]}
    expected["blend"] = [0, 0]
    stop = threading.Event()
    answered: set[str] = set()
    wrong: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            ranker = models.of(1).ranker
            answered.add(ranker.name)
            if ranker.score(CANDIDATES).tolist() != expected[ranker.name]:
                wrong.append(ranker.name)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    names = sorted(expected)
    turn = 0
    deadline = time.monotonic() + 30
    while (turn < 40 or answered != set(names)) and time.monotonic() < deadline:
        folder.use(Kind.RANKER, names[turn % 3])
        models.look()
        turn += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert answered == set(names)


def test_the_loop_looks_on_after_a_look_that_failed(
    folder: ModelFolder, models: ModelsInUse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.recommender.models.loading.LOOK_S", 0.001)
    looked = threading.Event()
    turns = iter(range(1_000_000))

    def look() -> None:
        if next(turns) == 0:
            raise RuntimeError("a disk that is unwell")
        looked.set()

    monkeypatch.setattr(models, "look", look)
    stop = threading.Event()
    thread = threading.Thread(target=models.keep_looking, args=(stop,))
    thread.start()
    assert looked.wait(60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
