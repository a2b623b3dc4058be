"""The simulator: what it calls perfect is 1, what it calls hot is 0, and the same seed is the same
world."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from services.recommender.catalogue import View
from services.recommender.commands.simulate import simulate
from services.recommender.evaluation.simulator.judging import judge
from services.recommender.evaluation.simulator.running import Feed
from services.recommender.evaluation.simulator.world import SMALL, Shape, make_world
from services.recommender.exposures import Exposures
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from tidings.reading.reader_state import Batch

TINY = Shape(articles=100, channels=8, authors=10, batches=8, counted=6, after_change=2)
SEED = 3


class Known(Feed):
    """A feed that is told what each reader likes, or what the crowd clicks."""

    def __init__(self, view: View, liking: NDArray[np.float32] | None) -> None:
        self._view = view
        self._liking = liking
        self._crowd = np.zeros(2 * TINY.articles)

    def choose(self, question: Question) -> NDArray[np.int64]:
        rows = self._view.newest(0, question.now_ms)
        ids = self._view.ids[rows]
        ids = np.sort(ids[~is_in(question.reader.seen, ids)])
        worth = self._crowd if self._liking is None else self._liking[question.reader_id - 1]
        return ids[np.argsort(-worth[ids - 1], kind="stable")][: question.wanted]

    def see(self, reader_id: int, batch: Batch) -> None: ...

    def click(self, reader_id: int, batch: Batch, position: int, at_ms: int) -> None: ...

    def hear(self, reader_id: int, article_id: int, at_ms: int) -> None:
        self._crowd[article_id - 1] += 1


def perfect(view: View, texts: Mapping[int, str], exposures: Exposures) -> Known:
    return Known(view, make_world(TINY, SEED).tastes[0].liking)


def popular(view: View, texts: Mapping[int, str], exposures: Exposures) -> Known:
    return Known(view, None)


def test_the_page_that_knows_the_taste_is_the_measure() -> None:
    figures = judge(TINY, SEED, perfect).figures
    assert figures["taste_gain"] == pytest.approx(1.0)
    assert figures["utility_gain"] == pytest.approx(1.0)
    assert figures["readers_judged"] > 0.9


def test_the_curves_tell_of_each_batch_and_a_changed_taste_shows_in_them() -> None:
    curves = judge(TINY, SEED, perfect).curves
    assert len(curves["feed"]) == TINY.batches + TINY.after_change
    assert len(curves["hot"]) == TINY.counted
    assert curves["feed"][0] == pytest.approx(1.0, abs=0.05)
    assert curves["hot"][0] < 0.5


def test_the_page_of_what_the_crowd_clicks_gains_nothing() -> None:
    figures = judge(TINY, SEED, popular).figures
    assert figures["taste_gain"] == pytest.approx(0.0)
    assert figures["utility_gain"] == pytest.approx(0.0)


def test_the_same_seed_makes_the_same_world_and_the_same_figures() -> None:
    one, two, other = make_world(TINY, 1), make_world(TINY, 1), make_world(TINY, 2)
    assert (one.tastes[0].liking == two.tastes[0].liking).all()
    assert one.texts == two.texts
    assert (one.tastes[0].liking != other.tastes[0].liking).any()
    assert judge(TINY, SEED, popular) == judge(TINY, SEED, popular)


def test_readers_like_what_was_planted_and_their_second_taste_is_another() -> None:
    first, second = make_world(SMALL, 1).tastes
    assert first.liking[first.planted].mean() > 5 * first.liking[~first.planted].mean()
    assert (first.planted != second.planted).any(axis=1).all()
    assert (first.channels[:, 0] != first.channels[:, 1]).all()


@pytest.mark.long
def test_the_feed_that_serves_finds_planted_tastes_on_a_small_site() -> None:
    result = CliRunner().invoke(simulate, ["--size", "150", "--json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    figures = {row["figure"]: row["value"] for row in rows}
    assert figures["taste_gain"] >= 0.4
    assert figures["utility_gain"] >= 0.35
    assert figures["planted_pairs"] >= 0.6
    assert figures["channels_in_ten"] >= 3
