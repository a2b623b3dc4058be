"""mix: from the best articles to a good page.

The ranking alone would give a whole page to one prolific author, and never show what no reader has
clicked yet. So an author gets three places in ten while others are waiting, and one place in five
goes to the newest article that the ranking left out, within the same shares, or the author who
publishes the most would have all of those. Mixing reorders; it never makes a page shorter.

    mix(ranked, wanted=10)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.recommender.candidate import Candidate
from services.recommender.sources.latest import LATEST

EXPLORE_EVERY = 5


def mix(ranked: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """Up to `wanted` of the ranked candidates, in the order to show them."""
    share = max(1, -(-wanted * 3 // 10))
    by_author: Counter[int] = Counter()
    page = _take(ranked, wanted - wanted // EXPLORE_EVERY, by_author, share)
    chosen = {candidate.entry.article_id for candidate in page}
    left_out = [candidate for candidate in ranked if candidate.entry.article_id not in chosen]
    newest = sorted(
        left_out, key=lambda c: (LATEST in c.scores, c.entry.published_ms), reverse=True
    )
    for number, candidate in enumerate(_take(newest, wanted - len(page), by_author, share)):
        page.insert(min((number + 1) * EXPLORE_EVERY - 1, len(page)), candidate)
    return page


def _take(
    candidates: Sequence[Candidate], number: int, by_author: Counter[int], share: int
) -> list[Candidate]:
    """The first `number` that are within their authors' shares; beyond those only when no others
    are left."""
    within: list[Candidate] = []
    beyond: list[Candidate] = []
    for candidate in candidates:
        if len(within) == number:
            break
        author_id = candidate.entry.author_id
        if author_id is None:
            within.append(candidate)
        elif by_author[author_id] < share:
            by_author[author_id] += 1
            within.append(candidate)
        else:
            beyond.append(candidate)
    return within + beyond[: number - len(within)]
