"""The models that a worker serves with: looked for each second, taken without losing a request.

A request asks once which ranker is its own and keeps that object to its end; a new model is loaded
beside the old one and takes its place by one assignment. A model that is refused changes nothing:
the former one serves on, or the hand blend where there was none, and the refusal is logged and
counted once. Rejected: a signal to reload, which a worker that starts at that moment misses.

    models = ModelsInUse(folder, FEATURES, blend=Blend(), taste=PLAIN, shares=Shares(()))
    models.look()
    variant, ranker = models.of(reader_id)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from services.recommender.models.files import (
    BLEND,
    NO_POINTER,
    BadModelError,
    Kind,
    Model,
    ModelFolder,
    Pointer,
)
from services.recommender.models.learned import Learned
from services.recommender.models.neighbours import BadNeighboursError, Neighbours
from services.recommender.models.trees import DTYPES, BadTreesError, Nodes, Trees
from services.recommender.models.variants import IN_USE, Shares
from services.recommender.rank.ranker import Picked, Ranker

LOOK_S = 1.0

LOADED = Counter("tidings_models_loaded_total", "Models taken into use by a worker", ["kind"])
REFUSED = Counter("tidings_models_refused_total", "Models that a worker refused", ["kind"])

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _State:
    """All that requests look at, replaced as a whole."""

    rankers: Mapping[str, Ranker]
    neighbours: Neighbours | None = None
    pointers: Mapping[Kind, Pointer] = field(default_factory=dict)


class ModelsInUse:
    """The models in use, for any number of threads.

    Args:
        folder: where they are published.
        features: the columns that candidates have here, in their order.
        blend: ranks where no model does.
        taste: weights by column, for rankers that were not trained on these columns.
        shares: which readers are served by which.
    """

    def __init__(
        self,
        folder: ModelFolder,
        features: Sequence[str],
        *,
        blend: Ranker,
        taste: Mapping[str, float],
        shares: Shares,
    ) -> None:
        self._folder = folder
        self._features = tuple(features)
        self._blend = blend
        self._taste = dict(taste)
        self._shares = shares
        self._refused: set[str] = set()
        self._state = _State({BLEND: blend, IN_USE: blend})

    def of(self, reader_id: int) -> Picked:
        """The ranker that this reader is served by."""
        share = self._shares.of(reader_id)
        rankers = self._state.rankers
        return Picked(share.number, rankers.get(share.ranker, rankers[IN_USE]))

    @property
    def neighbours(self) -> Neighbours | None:
        """Which articles go with which, if that was learned."""
        return self._state.neighbours

    def look(self) -> None:
        """Take what was published or chosen since the last look. Nothing that is wrong with a model
        is raised."""
        state = self._state
        pointers = {kind: self._pointer(kind, state) for kind in Kind}
        rankers = dict(state.rankers)
        neighbours = state.neighbours
        if pointers[Kind.RANKER] != state.pointers.get(Kind.RANKER, NO_POINTER):
            found = self._load_ranker(pointers[Kind.RANKER].name)
            rankers[IN_USE] = found or rankers[IN_USE]
        if pointers[Kind.NEIGHBOURS] != state.pointers.get(Kind.NEIGHBOURS, NO_POINTER):
            neighbours = self._load_neighbours(pointers[Kind.NEIGHBOURS].name, neighbours)
        for name in self._shares.rankers - rankers.keys() - self._refused:
            if found := self._load_ranker(name):
                rankers[name] = found
        self._state = _State(rankers, neighbours, pointers)

    def keep_looking(self, stopping: threading.Event) -> None:
        """Look each second until asked to stop."""
        while not stopping.wait(LOOK_S):
            try:
                self.look()
            except Exception as ex:  # noqa: BLE001 - the next look may find the disk well again
                _log.warning("models_not_looked_for", error=repr(ex))

    def _pointer(self, kind: Kind, state: _State) -> Pointer:
        try:
            return self._folder.pointer(kind)
        except OSError as ex:
            _log.warning("models_not_looked_for", kind=kind, error=repr(ex))
            return state.pointers.get(kind, NO_POINTER)

    def _load_ranker(self, name: str) -> Ranker | None:
        """The ranker of this name; None where it is refused."""
        if name == BLEND:
            _log.info("ranker_in_use", name=BLEND)
            return self._blend
        try:
            model = self._folder.read(name, Kind.RANKER)
            ranker = ranker_of(model, self._features, self._taste)
        except (BadModelError, BadTreesError) as ex:
            self._refuse(Kind.RANKER, name, str(ex))
            return None
        LOADED.labels(Kind.RANKER).inc()
        _log.info("ranker_in_use", name=name)
        return ranker

    def _load_neighbours(self, name: str, former: Neighbours | None) -> Neighbours | None:
        if name == BLEND:
            return None
        try:
            neighbours = neighbours_of(self._folder.read(name, Kind.NEIGHBOURS))
        except (BadModelError, BadNeighboursError) as ex:
            self._refuse(Kind.NEIGHBOURS, name, str(ex))
            return former
        LOADED.labels(Kind.NEIGHBOURS).inc()
        _log.info("neighbours_in_use", name=name, articles=len(neighbours))
        return neighbours

    def _refuse(self, kind: Kind, name: str, verdict: str) -> None:
        self._refused.add(name)
        REFUSED.labels(kind).inc()
        _log.error("model_refused", kind=kind, name=name, verdict=verdict)


def ranker_of(model: Model, features: Sequence[str], taste: Mapping[str, float]) -> Learned:
    """The ranker that a model is, for candidates with these columns.

    A model that knows fewer columns, or in another order, is served: each is found by its name.

    Args:
        taste: weights by column, added for those that the model was not trained on.

    Raises:
        BadModelError: it was trained on a column that candidates do not have.
        BadTreesError: its arrays are no trees.
    """
    own = model.manifest.about.features
    if unknown := [name for name in own if name not in features]:
        raise BadModelError(f"it was trained on {', '.join(unknown)}, not computed here")
    if missing := DTYPES.keys() - model.arrays.keys():
        raise BadModelError(f"its manifest.json lists no {', '.join(sorted(missing))}")
    nodes = Nodes(**{name: model.arrays[name] for name in DTYPES})
    places = {name: place for place, name in enumerate(features)}
    return Learned(
        Trees(nodes, len(own), name=model.name),
        columns=[places[name] for name in own],
        taste={places[name]: weight for name, weight in taste.items() if name not in own},
    )


def neighbours_of(model: Model) -> Neighbours:
    """Which articles go with which, by a model.

    Raises:
        BadModelError: an array is not there.
        BadNeighboursError: its arrays do not fit each other.
    """
    try:
        return Neighbours(*(model.arrays[name] for name in ("ids", "near", "strength")))
    except KeyError as ex:
        raise BadModelError(f"its manifest.json lists no {ex.args[0]}") from ex
