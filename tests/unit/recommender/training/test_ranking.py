"""The ranker learns from the lists that serving makes, and serves only if it is not worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.recommender.evaluation.log import Log, make_log
from services.recommender.evaluation.replay import replay, sample_clicks
from services.recommender.evaluation.serving import Serving
from services.recommender.features import FEATURES
from services.recommender.models.files import BLEND, Kind, ModelFolder
from services.recommender.models.neighbours import reading_weights
from services.recommender.rank.blend import Blend
from services.recommender.training import deciding, nightly, ranking
from services.recommender.training.deciding import Judged
from services.recommender.training.events import Readings
from services.recommender.training.measured import Progress
from services.recommender.training.nightly import Span, make_span, train_neighbours, train_ranker
from services.recommender.training.ranking import TooLittleError, compare, train
from services.recommender.training.samples import MISSED, Lists, changing, collect, judge, teach
from services.recommender.training.wanted import Wanted
from tests.lab.clicks import DAY_MS, START_MS, some_clicks

SILENT = Progress(lambda text: None)


@pytest.fixture(scope="module")
def log() -> Log:
    return make_log([some_clicks(sessions=600, seed=1)])


class ByColumn:
    """Ranks by one column alone."""

    name = "by_column"

    def __init__(self, column: int, sign: float = 1) -> None:
        self._column = column
        self._sign = np.float32(sign)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return features[:, self._column] * self._sign


def made_lists(number: int, seed: int = 1) -> Lists:
    """Lists of ten in which the one with the highest first column was clicked; two columns
    vary."""
    random = np.random.default_rng(seed)
    features = np.zeros((number * 10, len(FEATURES)), np.float32)
    features[:, :2] = random.random((number * 10, 2))
    right = features[:, 0].reshape(number, 10).argmax(axis=1).astype(np.int32)
    return Lists(features, np.arange(number + 1) * 10, right, np.arange(number))


def test_a_list_holds_what_serving_would_have_ranked_at_that_moment(log: Log) -> None:
    clicks = sample_clicks(log, since_ms=0, until_ms=START_MS + 3 * DAY_MS, most=40, seed=2)
    replayed = Serving(log)
    lists = collect(
        log,
        clicks,
        replayed.chooser,
        question_of=replayed.question,
        learn=replayed.learn,
    )
    served = Serving(log)
    for number, asked in enumerate(replay(log, clicks, served.learn)):
        chosen = served.chooser.choose(served.question(asked))
        length = lists.starts[number + 1] - lists.starts[number]
        assert length == len(chosen.ranked_ids)
        right = np.flatnonzero(chosen.ranked_ids == log.view.ids[asked.next_row])
        assert lists.right[number] == (right[0] if len(right) else MISSED)
    assert lists.at_ms.tolist() == log.at_ms[clicks].tolist()
    assert (lists.right != MISSED).mean() > 0.3


def test_a_question_knows_nothing_of_what_came_later(log: Log) -> None:
    clicks = sample_clicks(log, since_ms=0, until_ms=START_MS + 3 * DAY_MS, most=40, seed=2)
    replayed = Serving(log)
    for asked in replay(log, clicks, replayed.learn):
        acts = replayed.question(asked).reader.acts
        assert acts
        assert all(act.at_ms < asked.now_ms for act in acts)
        known = [act for act in acts if act.article_id == log.view.ids[asked.next_row]]
        assert all(act.at_ms < log.at_ms[asked.click] for act in known)


def test_a_list_without_its_click_teaches_nothing_and_counts_as_missed() -> None:
    lists = made_lists(4)
    lists.right[1] = MISSED
    features, clicked, lengths = teach(lists, np.array([0, 2]))
    assert features.shape == (30, 2)
    assert features[:10, 0].tolist() == lists.features[:10, 0].tolist()
    assert features[10:20, 0].tolist() == lists.features[20:30, 0].tolist()
    assert lengths.tolist() == [10, 10, 10]
    assert np.flatnonzero(clicked).tolist() == [
        lists.right[0],
        10 + lists.right[2],
        20 + lists.right[3],
    ]
    assert judge(lists, ByColumn(0)).figures == {"hit10": 0.75, "ndcg10": 0.75, "mrr10": 0.75}


def test_a_ranker_that_cannot_decide_gets_no_credit_for_it() -> None:
    lists = made_lists(50)
    assert judge(lists, ByColumn(2)).figures == pytest.approx(
        {"hit10": 1, "ndcg10": 1 / np.log2(11), "mrr10": 0.1}
    )


def test_columns_that_never_change_are_not_learned_from() -> None:
    assert changing(made_lists(20)).tolist() == [0, 1]
    assert changing(made_lists(20).part(0, 0)).tolist() == []


def test_what_was_learned_orders_what_was_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "LEAST_LISTS", 500)
    trained = train(made_lists(600), seed=1)
    assert trained.features == FEATURES[:2]
    assert trained.lists == 600
    assert judge(made_lists(200, seed=2), trained.ranker).figures["mrr10"] > 0.8


def test_too_few_lists_are_refused_with_both_numbers() -> None:
    with pytest.raises(TooLittleError, match="30 clicks have a list to learn from, and 1000"):
        train(made_lists(30), seed=1)


def test_a_ranker_serves_only_if_no_other_is_better_on_the_same_lists() -> None:
    held = made_lists(200)
    good, bad = ByColumn(0), ByColumn(0, sign=-1)
    assert not compare(good, {"blend": bad}, held).why_not
    assert not compare(good, {"blend": good}, held).why_not
    assert "worse than blend" in compare(bad, {"blend": good, "serving": bad}, held).why_not
    assert "worse than serving" in compare(bad, {"blend": bad, "serving": good}, held).why_not
    assert compare(good, {"blend": bad}, held).figures["new"]["mrr10"] == 1


def test_neither_of_two_rankers_that_only_guess_serves_in_place_of_the_other() -> None:
    """By their means one of them is better, as by the throw of a coin."""
    held = made_lists(244)
    heads, tails = ByColumn(1), ByColumn(1, sign=-1)
    assert "244 held-out questions do not say" in compare(heads, {"serving": tails}, held).why_not
    assert "244 held-out questions do not say" in compare(tails, {"serving": heads}, held).why_not


def test_the_best_ranker_does_not_serve_on_the_word_of_a_few_lists() -> None:
    why = compare(ByColumn(0), {"blend": ByColumn(0, sign=-1)}, made_lists(199)).why_not
    assert why.startswith("199 held-out questions judge it, and 200 are needed")


def test_by_default_the_first_half_of_a_log_only_warms_up(log: Log) -> None:
    span = make_span(log, Wanted())
    first, last = int(log.at_ms[0]), int(log.at_ms[-1])
    assert span.since_ms == pytest.approx((first + last) / 2, abs=1)
    assert span.held_ms == pytest.approx(first + (last - first) * 7 / 8, abs=2)
    assert span.until_ms == last + 1
    assert make_span(log, Wanted(since_ms=5, held_ms=9))[:2] == (5, 9)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of seconds."""
    for module, name, value in (
        (nightly, "LISTS", 150),
        (nightly, "HELD_LISTS", 60),
        (nightly, "LEAST_LISTS", 50),
        (nightly, "LEAST_ASKED", 20),
        (ranking, "LEAST_LISTS", 50),
        (deciding, "LEAST_JUDGED", 20),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("few")
def test_a_training_publishes_a_ranker_with_its_figures(log: Log, folder: ModelFolder) -> None:
    span = make_span(log, Wanted())
    report = train_ranker(folder, log, span, SILENT, seed=1)
    (listed,) = folder.listed()
    assert listed.name == report.name
    assert listed.is_used == (not report.why_not)
    assert listed.manifest is not None
    about = listed.manifest.about
    assert set(about.features) <= set(FEATURES)
    assert about.figures["ndcg10"] == report.figures["new"]["ndcg10"]
    assert about.figures["ndcg10_of_blend"] == report.figures["blend"]["ndcg10"]
    assert about.window["since_ms"] == span.since_ms
    assert about.versions.keys() == {"python", "tidings", "numpy", "lightgbm"}


@pytest.mark.usefixtures("few")
def test_a_worse_ranker_is_kept_but_not_used(
    log: Log, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Better(Blend):
        """What served before."""

    monkeypatch.setattr(nightly, "read_ranker_in_use", lambda folder: Better())
    monkeypatch.setattr(
        ranking,
        "judge",
        lambda lists, ranker: Judged(
            {"ndcg10": 1.0}, np.full(len(lists), isinstance(ranker, Better), np.float32)
        ),
    )
    report = train_ranker(folder, log, make_span(log, Wanted()), SILENT, seed=1)
    assert "worse than serving" in report.why_not
    assert folder.names() == [report.name]
    assert folder.pointer(Kind.RANKER).name == BLEND


@pytest.mark.usefixtures("few")
def test_the_next_training_is_compared_with_the_ranker_in_use(
    log: Log, folder: ModelFolder
) -> None:
    span = make_span(log, Wanted())
    first = train_ranker(folder, log, span, SILENT, seed=1)
    folder.use(Kind.RANKER, first.name)
    second = train_ranker(folder, log, span, SILENT, seed=1)
    assert second.figures["serving"] == first.figures["new"] == second.figures["new"]
    assert second.why_not == first.why_not


def test_too_few_clicks_are_too_little(log: Log, folder: ModelFolder) -> None:
    span = Span(START_MS, START_MS + 3600_000, START_MS + 2 * 3600_000)
    with pytest.raises(TooLittleError, match="and 1000 are needed"):
        train_ranker(folder, log, span, SILENT, seed=1)
    assert folder.names() == []


def some_readings() -> Readings:
    random = np.random.default_rng(3)
    read = [(random.permutation(12)[:6] + 100 * random.integers(4)) for _ in range(60)]
    return Readings(np.repeat(np.arange(60), 6), np.concatenate(read).astype(np.int64))


@pytest.mark.usefixtures("few")
def test_neighbours_are_published_and_used_where_they_beat_what_is_popular(
    folder: ModelFolder,
) -> None:
    report = train_neighbours(folder, some_readings(), SILENT)
    assert not report.why_not
    assert report.figures["new"]["ndcg10"] > report.figures["popular"]["ndcg10"]
    assert folder.pointer(Kind.NEIGHBOURS).name == report.name
    neighbours = nightly.read_neighbours_in_use(folder)
    assert neighbours is not None
    near = neighbours.of(np.array([103]), reading_weights(1), most=5)
    assert set((near.ids // 100).tolist()) == {1}
    again = train_neighbours(folder, some_readings(), SILENT)
    assert set(again.figures) == {"new", "popular", "serving"}


def test_too_few_readers_are_too_little(folder: ModelFolder) -> None:
    with pytest.raises(TooLittleError, match="60 readers have read 5 articles or more, and 200"):
        train_neighbours(folder, some_readings(), SILENT)


def test_progress_tells_time_and_memory() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    progress.say_now_and_then("too soon")
    progress.say("12 events read")
    assert len(lines) == 1
    seconds, s, memory, mib, *text = lines[0].split()
    assert (int(seconds), s, mib, text) == (0, "s", "MiB", ["12", "events", "read"])
    assert int(memory) > 50
