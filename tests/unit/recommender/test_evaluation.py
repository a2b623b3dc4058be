"""The replay sees nothing of the future, the measures are those of the books, and the baselines
are what their names say."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.recommender.evaluation.baselines import Covisitation, HourlyCounter, Released
from services.recommender.evaluation.log import EmptyLogError, Log, make_log
from services.recommender.evaluation.measures import MISSED, margins, measure, resample
from services.recommender.evaluation.next_click import judge
from services.recommender.evaluation.replay import Asked, replay, sample_clicks
from services.recommender.evaluation.serving import Serving
from tidings.importing.event_rows import read_events

START_S = 1_507_600_800
MINUTE_S = 60

Row = tuple[int, int, int, int]


def make(*rows: Row) -> Log:
    """A log of (seconds after the start, reader, article, session)."""
    text = "ts,user_id,article_id,session_id\n" + "".join(
        f"{START_S + at_s},{reader},{article},{session}\n"
        for at_s, reader, article, session in rows
    )
    return make_log(read_events(io.BytesIO(text.encode()), until_ms=2**60))


def every_question(log: Log) -> list[Asked]:
    clicks = sample_clicks(log, since_ms=0, until_ms=2**60, most=10**6, seed=1)
    return list(replay(log, clicks, lambda start, stop: None))


def ids(log: Log, rows: NDArray[np.int32]) -> list[int]:
    return [int(id_) for id_ in log.view.ids[rows]]


def test_a_question_stands_where_a_session_goes_on() -> None:
    """The first click of a session is asked of no contender; what the reader did in this session
    comes newest first, and what they did ever counts as seen."""
    log = make(
        (0, 1, 90, 1), (4000, 1, 10, 2), (4010, 2, 50, 3), (4020, 1, 20, 2), (4030, 1, 30, 2)
    )
    first, second = every_question(log)
    assert (ids(log, first.session), log.view.ids[first.next_row]) == ([10], 20)
    assert (ids(log, second.session), log.view.ids[second.next_row]) == ([20, 10], 30)
    assert ids(log, second.seen) == [10, 20, 90]
    assert log.prefix.tolist() == [0, 0, 0, 1, 2]


def test_without_numbers_a_session_ends_after_half_an_hour() -> None:
    """And one that the file numbers goes on over any pause, even within another of its reader."""
    text = "ts,user_id,article_id\n" + "".join(
        f"{START_S + at_s},1,{article}\n" for at_s, article in ((0, 1), (1800, 2), (3601, 3))
    )
    unnamed = make_log(read_events(io.BytesIO(text.encode()), until_ms=2**60))
    assert unnamed.prefix.tolist() == [0, 1, 0]
    named = make((0, 1, 10, 1), (5, 1, 20, 2), (9000, 1, 30, 1))
    assert named.prefix.tolist() == [0, 0, 1]


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 4), st.integers(1, 9), st.integers(1, 3)),
        min_size=2,
        max_size=60,
    ),
    late_s=st.sampled_from([0, 60]),
)
def test_nothing_of_the_future_is_learnt_and_nothing_of_the_past_is_missed(
    rows: list[Row], late_s: int
) -> None:
    """Nor of the very moment: what stands in the same second may have come after."""
    log = make(*rows)
    clicks = sample_clicks(log, since_ms=0, until_ms=2**60, most=10**6, seed=1)
    learnt: list[int] = []
    for asked in replay(
        log, clicks, lambda a, b: learnt.extend(range(a, b)), late_ms=late_s * 1000
    ):
        assert learnt == np.flatnonzero(log.at_ms < asked.now_ms - late_s * 1000).tolist()
        assert (log.at_ms[asked.earlier] < asked.now_ms).all()
        assert (log.readers[asked.earlier] == log.readers[asked.click]).all()


def test_an_article_is_not_known_before_its_first_click() -> None:
    """Or the newest list would begin with the very click that is to be guessed."""
    log = make((0, 1, 10, 1), (10, 1, 20, 1))
    (asked,) = every_question(log)
    assert ids(log, log.view.newest(0, asked.now_ms)) == [10]


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    log = make(*((at_s, at_s % 7, at_s % 5 + 1, at_s % 7) for at_s in range(200)))
    one, again = (
        sample_clicks(log, since_ms=0, until_ms=2**60, most=20, seed=3).tolist() for _ in range(2)
    )
    assert one == again == sorted(set(one))
    assert len(one) == 20


def test_a_log_without_clicks_is_refused() -> None:
    with pytest.raises(EmptyLogError):
        make()


def test_the_measures_are_those_of_the_books() -> None:
    """Järvelin and Kekäläinen's gain of 1 ÷ log2(rank + 1); the eleventh place is no hit at ten."""
    ranks = np.array([1, 3, 11, MISSED], np.int32)
    figures = measure(ranks, resample(4, seed=1))
    assert figures["hit@10"].value == 0.5
    assert figures["mrr@10"].value == pytest.approx((1 + 1 / 3) / 4)
    assert figures["ndcg@10"].value == pytest.approx((1 + 1 / math.log2(4)) / 4)
    assert figures["recall@100"].value == 0.75


def test_an_interval_holds_what_theory_says() -> None:
    """The bootstrap of a share agrees with the normal approximation: 1.96 sqrt(p(1 - p) / n)."""
    ranks = np.where(np.random.default_rng(1).random(4000) < 0.6, 1, MISSED).astype(np.int32)
    figure = measure(ranks, resample(4000, seed=2))["hit@10"]
    half = 1.96 * math.sqrt(figure.value * (1 - figure.value) / 4000)
    assert figure.low == pytest.approx(figure.value - half, abs=0.003)
    assert figure.high == pytest.approx(figure.value + half, abs=0.003)


def test_a_margin_is_narrower_than_the_figures_it_lies_between() -> None:
    """Both contenders answer the same questions, and mostly alike."""
    random = np.random.default_rng(1)
    ranks = np.where(random.random(2000) < 0.5, 1, MISSED).astype(np.int32)
    better = np.where(random.random(2000) < 0.05, 1, ranks).astype(np.int32)
    weights = resample(2000, seed=1)
    margin = margins(better, ranks, weights)["hit@10"]
    figure = measure(better, weights)["hit@10"]
    assert margin.low > 0
    assert margin.high - margin.low < (figure.high - figure.low) / 2


def test_the_counter_ranks_the_last_whole_ten_minutes_hour() -> None:
    """What was clicked since, or longer ago, does not count."""
    at = 10 * MINUTE_S
    log = make(
        (0, 5, 99, 1),
        *((3600 + second, second, 10, second) for second in range(3)),
        *((3700 + second, second, 20, second) for second in range(2)),
        (3600 + at, 8, 30, 90),
        (3600 + at + 1, 8, 40, 90),
    )
    asked = every_question(log)[-1]
    assert ids(log, HourlyCounter(log).answer(asked).ranked) == [10, 20]


def test_covisitation_puts_what_sessions_joined_before_what_many_read() -> None:
    """Two sessions went from 10 to 77, and 20 was read most."""
    log = make(
        *((second, second, 20, second) for second in range(1, 9)),
        (20, 101, 10, 101),
        (21, 101, 77, 101),
        (22, 102, 10, 102),
        (23, 102, 77, 102),
        (700, 200, 10, 200),
        (1300, 200, 55, 200),
    )
    asked = every_question(log)[-1]
    assert ids(log, Covisitation(log).answer(asked).ranked)[:2] == [77, 20]
    assert ids(log, HourlyCounter(log).answer(asked).ranked)[0] == 20


def test_the_first_release_gives_freshness_four_tenths() -> None:
    """So the newest stands before what was read twice as much as anything but one."""
    log = make(
        *((second, second, 10, second) for second in range(1, 11)),
        *((20 + second, second, 20, second) for second in range(4)),
        (60, 300, 10, 300),
        (3000, 400, 88, 400),
        (3100, 300, 99, 300),
    )
    asked = every_question(log)[-1]
    answer = Released(log).answer(asked)
    assert ids(log, answer.ranked) == [20, 88] or ids(log, answer.ranked) == [88, 20]
    assert set(ids(log, answer.shown)) == {20, 88}


def test_every_contender_is_asked_the_same() -> None:
    """Ranks are places from 1, and what is nowhere is missed."""
    log = make(
        *((second, second, 10 * (second % 3 + 1), second) for second in range(1, 30)),
        (700, 100, 10, 100),
        (1300, 100, 20, 100),
        (1400, 100, 777, 100),
    )
    clicks = sample_clicks(log, since_ms=0, until_ms=2**60, most=100, seed=1)
    counted: list[int] = []
    (judged,) = judge(log, clicks, [HourlyCounter(log)], on_question=counted.append)
    assert len(clicks) == 2
    assert counted == [1, 2]
    assert judged.ranks.tolist() == judged.shown.tolist() == [1, MISSED]


def test_the_recommender_itself_is_asked_with_what_it_would_know() -> None:
    """Ten sessions went from 10 to 77; a reader at 10 is led there, and shown nothing they read."""
    log = make(
        *((second, second, 20, second) for second in range(1, 9)),
        *((100 + 2 * reader, reader, 10, reader) for reader in range(100, 110)),
        *((101 + 2 * reader, reader, 77, reader) for reader in range(100, 110)),
        (700, 200, 10, 200),
        (760, 200, 55, 200),
    )
    serving = Serving(log)
    clicks = sample_clicks(log, since_ms=(START_S + 750) * 1000, until_ms=2**60, most=1, seed=1)
    (asked,) = replay(log, clicks, serving.learn)
    answer = serving.answer(asked)
    question = serving.question(asked)
    assert ids(log, answer.ranked)[0] == 77
    assert 10 not in ids(log, answer.ranked)
    assert [acted.article_id for acted in question.reader.acts] == [10]
    assert question.now_ms == (START_S + 760) * 1000
    assert serving.source_names()[int(answer.sources[0])] == "neighbours"


def test_late_signals_leave_the_readers_own_clicks_alone() -> None:
    """The request brings those along."""
    log = make((0, 1, 30, 1), (700, 200, 10, 200), (760, 200, 55, 200))
    serving = Serving(log)
    asked = list(replay(log, np.array([2]), serving.learn, late_ms=3_600_000))[-1]
    assert [acted.article_id for acted in serving.question(asked).reader.acts] == [10]
    assert ids(log, serving.answer(asked).shown)[0] == 30
