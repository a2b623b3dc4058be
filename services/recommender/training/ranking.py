"""Trains a ranker on one part of the lists, judges it on the last, and decides whether it serves.

The held-out lists are later than all that was learned from, and every ranker answers the same ones:
the new one, the one in use, and the hand blend. The new one is used if its ndcg@10 is not below any
of theirs. Rejected: using what is newest; a night's model from a quiet week may be worse than the
one of the week before, and a model three days old loses nothing.

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
from services.recommender.training.growing import LEARNING_RATE, LEAVES, TREES, grow
from services.recommender.training.samples import Lists, changing, judge, teach

# Fewer clicks than these say less than the hand blend knows.
LEAST_LISTS = 1_000
JUDGED_BY = "ndcg10"


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
    """How rankers answered the same lists, by name and figure; and whether the new one serves."""

    figures: Mapping[str, Mapping[str, float]]
    is_used: bool


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
    figures = {"new": judge(held, new)}
    figures |= {name: judge(held, ranker) for name, ranker in others.items()}
    best = max((figures[name][JUDGED_BY] for name in others), default=0.0)
    return Compared(figures, is_used=figures["new"][JUDGED_BY] >= best)


def about(trained: Trained, compared: Compared, window: Mapping[str, int], seed: int) -> About:
    """What the manifest of a ranker says."""
    figures = dict(compared.figures["new"])
    for name, theirs in compared.figures.items():
        if name != "new":
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
