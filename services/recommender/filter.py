"""filter: which candidates may be shown to this reader in this channel, each once even if several
sources proposed it.

Sources are not asked to look: each would have to, and one would forget. Rejected: filtering after
the ranking, which ranks what cannot be shown.

    filter_candidates(candidates, question, catalogue).values()
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from services.recommender.candidate import Candidate, Question
from services.recommender.catalogue import Catalogue
from tidings.news.channels import is_every_channel

DROPPED = Counter(
    "tidings_candidates_dropped_total", "Candidates dropped by the filter", ["reason"]
)


def filter_candidates(
    candidates: Iterable[Candidate], question: Question, catalogue: Catalogue
) -> dict[int, Candidate]:
    """article_id → candidate with the scores of every source that proposed it."""
    kept: dict[int, Candidate] = {}
    for candidate in candidates:
        article_id = candidate.entry.article_id
        if article_id in kept:
            kept[article_id].scores.update(candidate.scores)
            continue
        reason = _reason_to_drop(candidate, question, catalogue)
        if reason:
            DROPPED.labels(reason).inc()
        else:
            kept[article_id] = candidate
    return kept


def _reason_to_drop(candidate: Candidate, question: Question, catalogue: Catalogue) -> str | None:
    entry = candidate.entry
    if entry.article_id in question.seen:
        return "seen"
    if not is_every_channel(question.channel_id) and question.channel_id != entry.channel_id:
        return "other_channel"
    # Sources look at different moments: what was taken down in between is caught here.
    if catalogue.get(entry.article_id) is None:
        return "not_visible"
    return None
