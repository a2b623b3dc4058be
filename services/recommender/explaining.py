"""A feed taken apart, as `explain` of the IDL says it.

Rejected: handing the trace out as it is, whose arrays are a matter between the steps and change
with them.

    to_response(pipeline.explain(ask)).dropped[0].why  # "seen"
"""

from __future__ import annotations

from services.recommender.candidates import Candidates
from services.recommender.features import FEATURES
from services.recommender.pipeline import Explanation
from services.recommender.reasons import reason_for
from services.recommender.trace import Trace
from tidings_idl.recommend.ttypes import Dropped, Explained, ExplainResponse, Reason

MOST_DROPPED = 1000
# What these steps leave out is told apart by score; all other reasons are the filter's.
_BY_SCORE = ("cut", "mix")


def to_response(explanation: Explanation) -> ExplainResponse:
    """The explanation as the wire carries it."""
    chosen, trace = explanation.chosen, explanation.trace
    scores, features = _ranked(trace.ranked)
    articles = []
    for article_id, reason in zip(chosen.ids.tolist(), chosen.reasons, strict=True):
        said = reason_for(reason.kind, reason.article_id)
        articles.append(
            Explained(
                article_id=article_id,
                source=reason.kind,
                reason=None if said is None else Reason(*said),
                score=scores.get(article_id, 0.0),
                features=features.get(article_id, {}),
                strengths=_strengths(trace, article_id),
            )
        )
    return ExplainResponse(
        articles=articles,
        dropped=_dropped(trace, scores, len(chosen.ids)),
        step_ms=trace.steps_ms,
        variant=chosen.variant,
        model=trace.model,
    )


def _ranked(ranked: Candidates | None) -> tuple[dict[int, float], dict[int, dict[str, float]]]:
    """Article → its score, and → its features by name."""
    if ranked is None:
        return {}, {}
    ids = ranked.ids.tolist()
    rows = (dict(zip(FEATURES, row, strict=True)) for row in ranked.features.tolist())
    return (
        dict(zip(ids, ranked.scores.tolist(), strict=True)),
        dict(zip(ids, rows, strict=True)),
    )


def _strengths(trace: Trace, article_id: int) -> dict[str, float]:
    return {
        source: proposed[article_id]
        for source, proposed in trace.proposed.items()
        if article_id in proposed
    }


def _dropped(trace: Trace, scores: dict[int, float], places: int) -> list[Dropped]:
    """What fell out, the latest step first, and within it the best score.

    Only what is among the best by score was crowded out by mix. The rest would not have had one of
    the places in any case, and is weaker.
    """
    order = {"mix": 0, "cut": 1}
    best = set(sorted(scores, key=lambda article_id: -scores[article_id])[:places])
    fallen = sorted(
        trace.dropped.items(), key=lambda item: (order.get(item[1], 2), -scores.get(item[0], 0.0))
    )
    dropped = []
    for article_id, verdict in fallen[:MOST_DROPPED]:
        step, why = "filter", verdict
        if verdict in _BY_SCORE:
            step, why = verdict, "crowded_out" if article_id in best else "weaker"
        dropped.append(
            Dropped(article_id=article_id, step=step, why=why, score=scores.get(article_id))
        )
    return dropped
