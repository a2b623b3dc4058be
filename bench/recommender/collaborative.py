"""The source `collaborative` alone, on ratings of films: does it beat what is popular, and the ALS
of implicit, which a site would take otherwise?

MovieLens `ml-latest-small`: ratings of 4 and more, readers with five or more of them, ordered by
time; the last one is to be found among all films that the reader did not rate so. What was tuned
was tuned on the one before it, `split(likings, 1)`, never on this one.

    measure()  # {"cf_recall10": 0.09, …}
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse

from bench.recommender.data import find
from services.recommender.models.neighbours import Neighbours
from services.recommender.training.judging import (
    AT,
    LastLeftOut,
    judge_neighbours,
    judge_places,
    judge_popular,
    leave_last_out,
)
from services.recommender.training.neighbouring import learn

LEAST_STARS = 4
LEAST_RATINGS = 5
# The best of 48, on the liking before the last one.
ALS = {"factors": 128, "regularization": 50.0, "iterations": 20, "alpha": 20.0, "random_state": 1}


def measure() -> dict[str, float]:
    """The figures of the source, and of what else might stand in its place."""
    return judge(read_likings(find("ml-latest-small") / "ratings.csv.gz"))


def judge(likings: Sequence[Sequence[int]]) -> dict[str, float]:
    """Each side's figures on the last liking of each reader."""
    readers = np.repeat(np.arange(len(likings)), [len(liked) for liked in likings])
    films = np.concatenate([np.array(liked, np.int64) for liked in likings])
    kept, asked = leave_last_out(readers, films, least=LEAST_RATINGS)
    sides: Mapping[str, Mapping[str, float]] = {
        "cf": judge_neighbours(Neighbours(*learn(readers[kept], films[kept])), asked).figures,
        "als": judge_als(readers[kept], films[kept], asked),
        "popular": judge_popular(films[kept], asked).figures,
    }
    return {f"{side}_{name}": value for side, some in sides.items() for name, value in some.items()}


def judge_als(
    readers: NDArray[np.int64], films: NDArray[np.int64], asked: Sequence[LastLeftOut]
) -> Mapping[str, float]:
    """recall@10 and ndcg@10 of factors by alternating least squares (Hu, Koren and Volinsky,
    2008), for readers in the order of `asked`."""
    ids, columns = np.unique(films, return_inverse=True)
    likings = sparse.csr_matrix((np.ones(len(films), np.float32), (readers, columns)))
    model = AlternatingLeastSquares(**ALS, num_threads=1)
    model.fit(likings, show_progress=False)
    found, _ = model.recommend(np.arange(likings.shape[0]), likings, N=AT)
    places = [
        int(np.flatnonzero(ids[row] == one.right)[0]) if one.right in ids[row] else -1
        for row, one in zip(found, asked, strict=True)
    ]
    return judge_places(places).figures


def read_likings(path: Path) -> list[list[int]]:
    """For each reader with enough of them, what they liked, oldest first."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        likings = sorted(
            (int(row["userId"]), int(row["timestamp"]), place, int(row["movieId"]))
            for place, row in enumerate(csv.DictReader(file))
            if float(row["rating"]) >= LEAST_STARS
        )
    by_reader = [
        [film for *_, film in of_reader] for _, of_reader in groupby(likings, key=itemgetter(0))
    ]
    return [liked for liked in by_reader if len(liked) >= LEAST_RATINGS]


def split(likings: Sequence[Sequence[int]], from_end: int) -> list[Sequence[int]]:
    """Each reader without the last so many likings: for tuning on what comes before them."""
    return [liked[:-from_end] for liked in likings if len(liked) > LEAST_RATINGS]
