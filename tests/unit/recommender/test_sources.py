"""The list of sources of candidates, and what each says of itself."""

from __future__ import annotations

import math

import pytest
import redis
from sqlalchemy import Engine

from services.recommender.candidate import Source
from services.recommender.catalogue import Catalogue
from services.recommender.sources.again import AGAIN
from services.recommender.sources.hot import HOT
from services.recommender.sources.latest import LATEST
from services.recommender.sources.table import check_sources, make_sources
from tests.lab.newsroom import Clock
from tidings.reading.tracking import LadderSource


def test_the_sources_in_use_have_the_numbers_that_tokens_were_issued_with(engine: Engine) -> None:
    used = [recall.source for recall in make_sources(Catalogue(engine, Clock()), redis.Redis())]

    assert used == [LATEST, HOT]
    assert [(source.number, source.name) for source in (*used, AGAIN)] == [
        (1, "latest"),
        (2, "hot"),
        (3, "again"),
    ]


def test_what_is_read_a_lot_counts_more_than_what_is_new() -> None:
    """Weights count relative to each other, so that a new source need not take from these."""
    assert (LATEST.weight, HOT.weight) == (0.4, 0.6)


def test_a_source_without_a_weight_ends_the_start() -> None:
    """Trap: a source that was forgotten in a table of weights proposed articles and weighed 0."""
    with pytest.raises(TypeError, match="weight"):
        Source(number=4, name="taste")  # type: ignore[call-arg]


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_weight_that_cannot_be_ends_the_start(weight: float) -> None:
    with pytest.raises(ValueError, match="taste"):
        Source(number=4, name="taste", weight=weight)


@pytest.mark.parametrize(
    "other",
    [
        Source(number=HOT.number, name="taste", weight=0.1),
        Source(number=4, name=HOT.name, weight=0.1),
        Source(number=LadderSource.POPULAR, name="taste", weight=0.1),
    ],
    ids=["number", "name", "number of the ladder's"],
)
def test_two_sources_that_could_be_taken_for_one_end_the_start(other: Source) -> None:
    with pytest.raises(ValueError, match="is another source's"):
        check_sources([LATEST, HOT, other])
