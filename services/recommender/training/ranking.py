"""Trains a ranker on one part of the lists, judges it on the last, and decides whether it serves.

The held-out lists are later than all that was learned from, and every ranker answers the same ones:
the new one, the one in use, and the hand blend. The new one is used if these lists say that it is
not worse than any of them. Rejected: using what is newest; a night's model from a quiet week may be
worse than the one of the week before, and a model three days old loses nothing.

    trained = train(lists, held, seed=1)
    verdict = compare(trained, {"blend": Blend()}, held)
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from numpy.typing import NDArray

from services.recommender.features import FEATURES
from services.recommender.models.files import About, Kind
from services.recommender.models.learned import Learned
from services.recommender.models.trees import DTYPES, Nodes, Trees
from services.recommender.rank.blend import PLAIN
from services.recommender.rank.ranker import Ranker
from services.recommender.training.deciding import NEW, why_not
from services.recommender.training.growing import LEARNING_RATE, LEAVES, TREES, grow
from services.recommender.training.samples import Lists, changing, judge, teach

# Fewer clicks than these say less than the hand blend knows.
LEAST_LISTS = 1_000


class TooLittleError(Exception):
    """There is too little to learn from; the message says how much there is and what is needed."""


class Trained(NamedTuple):
    """A ranker, not published yet.

    Attributes:
        features: the columns that it was trained on; those that never changed teach nothing.
        nodes: its trees.
        lists: how many lists it learned from.
    """

    features: tuple[str, ...]
    nodes: Nodes
    lists: int

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return {name: getattr(self.nodes, name) for name in DTYPES}

    @property
    def ranker(self) -> Ranker:
        """As it would serve."""
        places = {name: place for place, name in enumerate(FEATURES)}
        return Learned(
            Trees(self.nodes, len(self.features)),
            columns=[places[name] for name in self.features],
            taste={places[k]: weight for k, weight in PLAIN.items() if k not in self.features},
        )


class Compared(NamedTuple):
    """How rankers answered the same lists, by name and figure; and why the new one does not serve,
    empty where it does."""

    figures: Mapping[str, Mapping[str, float]]
    why_not: str


def train(lists: Lists, *, seed: int) -> Trained:
    """A ranker from these lists.

    Raises:
        TooLittleError: fewer than `LEAST_LISTS` of them teach anything.
    """
    columns = changing(lists)
    features, clicked, lengths = teach(lists, columns)
    if len(lengths) < LEAST_LISTS:
        raise TooLittleError(
            f"{len(lengths)} clicks have a list to learn from, and {LEAST_LISTS} are needed"
        )
    return Trained(
        features=tuple(FEATURES[column] for column in columns),
        nodes=grow(features, clicked, lengths, seed=seed),
        lists=len(lengths),
    )


def compare(new: Ranker, others: Mapping[str, Ranker], held: Lists) -> Compared:
    """Judge the new ranker beside the others."""
    judged = {NEW: judge(held, new)}
    judged |= {name: judge(held, ranker) for name, ranker in others.items()}
    return Compared({name: one.figures for name, one in judged.items()}, why_not(judged))


def about(trained: Trained, compared: Compared, window: Mapping[str, int], seed: int) -> About:
    """What the manifest of a ranker says."""
    figures = dict(compared.figures[NEW])
    for name, theirs in compared.figures.items():
        if name != NEW:
            figures |= {f"{figure}_of_{name}": value for figure, value in theirs.items()}
    return About(
        Kind.RANKER,
        features=trained.features,
        figures=figures,
        window=window,
        versions=program_versions(("tidings", "numpy", "lightgbm")),
        settings={
            "trees": TREES,
            "leaves": LEAVES,
            "learning_rate": LEARNING_RATE,
            "seed": seed,
            "lists": trained.lists,
        },
    )


def program_versions(packages: tuple[str, ...]) -> Mapping[str, str]:
    """The versions of Python and of these packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
