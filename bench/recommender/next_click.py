"""Which article does a reader go on to? On 10 October 2017 of a portal's click log, by the pipeline
that serves, beside its baselines.

Weights were tuned and models trained on 9 October; earlier days only warm the signals up, later
ones are not looked at. The log knows no channels: a block of 9,000 ids stands for one, since its
ids run in the order of its categories, so that mix has something to mix.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from bench.recommender.data import find
from services.recommender.evaluation.comparing import HAND_BLEND, SAMPLE, Asking, compare
from services.recommender.evaluation.log import Log, make_log
from services.recommender.features import FEATURES
from services.recommender.models.files import Kind, ModelFolder
from services.recommender.models.loading import ModelsInUse
from services.recommender.models.variants import Shares
from services.recommender.parts import Models
from services.recommender.rank.blend import PLAIN, Blend
from services.recommender.training.measured import Progress
from services.recommender.training.nightly import Span, train_ranker
from tidings.importing.event_rows import read_events
from tidings.importing.inputs import open_input
from tidings.process.clock import now_ms

DAY_MS = 24 * 3600 * 1000
# 2017-10-10 03:00 UTC, when the day begins in Brasília.
SCORED_MS = 1_507_604_400_000
CHANNEL_BLOCK = 9000
FULL = bool(os.environ.get("FULL"))
QUESTIONS = SAMPLE if FULL else SAMPLE // 4
SEEDS = (1, 2, 3) if FULL else (1,)
LISTS = 24_000 if FULL else 6_000
# The end of the day that is learned from, which `tidings train` would judge by.
HELD_MS = 10 * 60 * 1000
COVISITATION = "co-visitation 6 h + .3 counter"


def measure() -> dict[str, float]:
    """`next_click_*`, `next_click_*_covisit`, `next_click_margin_*` and `mix_cost_hit10`, with half
    their intervals; means over the seeds."""
    log = read_log()
    models = learn(log)
    runs = [figures_of(log, models, seed) for seed in SEEDS]
    return {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}


def read_log() -> Log:
    """The whole log, with stand-ins for channels."""
    path = find("globo-news") / "clicks.csv.xz"
    with tempfile.TemporaryDirectory() as scratch, open_input(str(path), Path(scratch)) as source:
        blocks = read_events(source.stream, until_ms=now_ms())
        return make_log(blocks, channel_of=lambda ids: ids // CHANNEL_BLOCK + 1)


def learn(log: Log) -> Models:
    """The ranker of 9 October, as `tidings train` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        published = ModelFolder(Path(folder))
        span = Span(SCORED_MS - DAY_MS, SCORED_MS - HELD_MS, SCORED_MS)
        report = train_ranker(published, log, span, Progress(print), seed=1, most=LISTS)
        published.use(Kind.RANKER, report.name)
        models = ModelsInUse(published, FEATURES, blend=Blend(), taste=PLAIN, shares=Shares(()))
        models.look()
    return models


def figures_of(log: Log, models: Models, seed: int) -> dict[str, float]:
    """One run's figures by their names."""
    asking = Asking(SCORED_MS, SCORED_MS + DAY_MS, sample=QUESTIONS, seed=seed)
    report = compare(log, asking, models=models, on_question=lambda number, of: None)
    contenders = {one["name"]: one for one in report["contenders"]}
    ours, covisitation = report["contenders"][0], contenders[COVISITATION]
    margin = ours["margins"][COVISITATION]
    figures = {"mix_cost_hit10": value(ours, "hit@10") - ours["after_mix"]["hit@10"]["value"]}
    for measured, short in (("hit@10", "hit10"), ("ndcg@10", "ndcg10"), ("mrr@10", "mrr10")):
        figures[f"next_click_{short}"] = value(ours, measured)
        figures[f"next_click_{short}_blend"] = value(contenders[HAND_BLEND], measured)
        figures[f"next_click_{short}_covisit"] = value(covisitation, measured)
        figures[f"next_click_margin_{short}"] = margin[measured]["value"]
        figures[f"next_click_{short}_half_interval"] = half_interval(ours["before_mix"][measured])
        figures[f"next_click_margin_{short}_half_interval"] = half_interval(margin[measured])
    for name, one in contenders.items():
        print(f"  {name}: {value(one, 'hit@10'):.3f} / {value(one, 'ndcg@10'):.3f}")
    return figures


def value(contender: dict[str, Any], measured: str) -> float:
    """A figure before mix."""
    return float(contender["before_mix"][measured]["value"])


def half_interval(figure: dict[str, float]) -> float:
    """Half of a figure's interval."""
    return (figure["high"] - figure["low"]) / 2
