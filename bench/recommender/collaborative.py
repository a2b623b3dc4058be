"""The source `collaborative` alone, on ratings of films: does it beat what is popular?

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

from bench.recommender.data import find
from services.recommender.models.neighbours import Neighbours
from services.recommender.training.judging import judge_neighbours, judge_popular, leave_last_out
from services.recommender.training.neighbouring import learn

LEAST_STARS = 4
LEAST_RATINGS = 5


def measure() -> dict[str, float]:
    """The figures of the source, and of the most liked films in its place."""
    return judge(read_likings(find("ml-latest-small") / "ratings.csv.gz"))


def judge(likings: Sequence[Sequence[int]]) -> dict[str, float]:
    """Both sides' figures on the last liking of each reader."""
    readers = np.repeat(np.arange(len(likings)), [len(liked) for liked in likings])
    films = np.concatenate([np.array(liked, np.int64) for liked in likings])
    kept, asked = leave_last_out(readers, films, least=LEAST_RATINGS)
    sides: Mapping[str, Mapping[str, float]] = {
        "cf": judge_neighbours(Neighbours(*learn(readers[kept], films[kept])), asked),
        "popular": judge_popular(films[kept], asked),
    }
    return {f"{side}_{name}": value for side, some in sides.items() for name, value in some.items()}


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
