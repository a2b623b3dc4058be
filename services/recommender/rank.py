"""rank: one number for each candidate, and the order that follows from it.

A fixed blend of what the sources think, each with its own weight: there is no log to learn from on
a site's first day. A candidate that only one source proposed counts as worth nothing to the others.
Ties go to the newer article, then to the higher id, so that the same candidates always come out in
the same order.

    rank(candidates)[0].score  # the best one's
"""

from __future__ import annotations

from collections.abc import Iterable

from services.recommender.candidate import Candidate


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates with their `score` set, best first."""
    ranked = list(candidates)
    for candidate in ranked:
        candidate.score = sum(source.weight * score for source, score in candidate.scores.items())
    ranked.sort(key=lambda c: (c.score, c.entry.published_ms, c.entry.article_id), reverse=True)
    return ranked
