"""mix: from the best articles to a good page.

The ranking alone would give a whole page to one prolific author, and never show what nobody has clicked yet. So an
author gets three places in ten while others are waiting, and one place in five goes to the newest article that the
ranking left out. Mixing reorders; it never makes a page shorter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.recommender.candidate import Candidate
from tidings.tracking import Source

EXPLORE_EVERY = 5


def mix(ranked: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """Up to `wanted` of the ranked candidates, in the order to show them."""
    places_for_new = wanted // EXPLORE_EVERY
    page = _cap_authors(ranked, wanted)[: wanted - places_for_new]
    chosen = {candidate.entry.article_id for candidate in page}
    left_out = [candidate for candidate in ranked if candidate.entry.article_id not in chosen]
    newest = sorted(left_out, key=lambda c: (Source.LATEST in c.scores, c.entry.published_ms), reverse=True)
    for number, candidate in enumerate(newest[: wanted - len(page)]):
        page.insert(min((number + 1) * EXPLORE_EVERY - 1, len(page)), candidate)
    return page


def _cap_authors(ranked: Sequence[Candidate], wanted: int) -> list[Candidate]:
    most = max(1, -(-wanted * 3 // 10))
    counts: Counter[int] = Counter()
    within, beyond = [], []
    for candidate in ranked:
        author_id = candidate.entry.author_id
        if author_id is None or counts[author_id] < most:
            within.append(candidate)
        else:
            beyond.append(candidate)
        if author_id is not None:
            counts[author_id] += 1
    return within + beyond
