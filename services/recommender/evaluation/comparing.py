"""The recommender beside its baselines, on the same questions of one day of a log: what
`tidings evaluate` and `make bench-recommender` both print.

Rejected: baselines measured once and remembered; days differ by .05 for every model.

    report = compare(log, Asking(since_ms, until_ms), on_question=lambda: None)
    report["contenders"][0]["name"]  # "recommender"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.recommender.evaluation.baselines import (
    Contender,
    Covisitation,
    HourlyCounter,
    Released,
)
from services.recommender.evaluation.log import Log
from services.recommender.evaluation.next_click import judge
from services.recommender.evaluation.replay import sample_clicks
from services.recommender.evaluation.report import Report, report_next_click
from services.recommender.evaluation.serving import Serving
from services.recommender.parts import NOTHING_LEARNED, Models, make_chooser
from services.recommender.rank.blend import Blend
from tidings.process.clock import moment

SAMPLE = 20_000
HAND_BLEND = "hand blend, nothing learned"


class NoQuestionsError(ValueError):
    """In the time that was named, no session goes on."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Which questions are asked.

    Attributes:
        since_ms: of the first click that may be asked for.
        until_ms: none from here on.
        sample: so many at most.
        seed: of the sample, and of the resamples.
        late_ms: how late the signals are that all readers share.
    """

    since_ms: int
    until_ms: int
    sample: int = SAMPLE
    seed: int = 1
    late_ms: int = 0


def compare(
    log: Log,
    asking: Asking,
    *,
    models: Models = NOTHING_LEARNED,
    on_question: Callable[[int, int], None],
) -> Report:
    """Judge the recommender and its baselines; the hand blend is one where a ranker was learned.

    Args:
        log: what happened.
        asking: which questions.
        models: what the recommender has learned.
        on_question: called after each with its number, from 1, and how many there are.

    Raises:
        NoQuestionsError: there is none.
    """
    clicks = sample_clicks(
        log,
        since_ms=asking.since_ms,
        until_ms=asking.until_ms,
        most=asking.sample,
        seed=asking.seed,
    )
    since, until = moment(asking.since_ms), moment(asking.until_ms)
    if not len(clicks):
        raise NoQuestionsError(
            f"no session goes on between {since:%Y-%m-%d %H:%M}Z and {until:%Y-%m-%d %H:%M}Z"
        )
    serving = Serving(log, make=partial(make_chooser, models=models))
    contenders: list[Contender] = [serving, Covisitation(log), HourlyCounter(log), Released(log)]
    if models.of(0).ranker.name != Blend.name:
        contenders.append(Serving(log, name=HAND_BLEND, beside=serving))
    judged = judge(
        log,
        clicks,
        contenders,
        learn=serving.learn,
        late_ms=asking.late_ms,
        on_question=lambda number: on_question(number, len(clicks)),
    )
    return {
        "events": len(log),
        "articles": len(log.view),
        "questions": len(clicks),
        "since": since,
        "until": until,
        "late_s": asking.late_ms / 1000,
        "seed": asking.seed,
        "contenders": report_next_click(
            judged, log.prefix[clicks], source_names=serving.source_names(), seed=asking.seed
        ),
    }
