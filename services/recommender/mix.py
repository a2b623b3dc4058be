"""mix: from the best articles to a good page.

The ranking alone would give a whole page to one channel and one prolific author, and never show
what no reader has clicked yet. So a place is filled at a time: each article already taken costs the
others of its channel a little, an author gets three places in ten while others are waiting, and one
place in ten goes to the newest that few have seen. Mixing reorders; it never makes a page shorter.
Rejected: drawing places by lot, which nobody can explain.

    candidates.ids[mix(candidates, view, wanted=10)]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Candidates
from services.recommender.catalogue import NO_AUTHOR, View
from services.recommender.sources.latest import LATEST

CHANNEL_COST = 0.06
PAGE = 10
AUTHOR_PLACES = 3
EXPLORED_AT = 6
# Farther than any two scores: such articles come last, in the order of their scores.
BEYOND = 1e6


def mix(candidates: Candidates, view: View, wanted: int) -> NDArray[np.intp]:
    """Indices of at most `wanted` candidates, in the order to show them."""
    channels, authors = view.channels[candidates.rows], view.authors[candidates.rows]
    value = candidates.scores.astype(np.float64)
    fresh = np.where(candidates.sources == LATEST.number, 0.0, -np.inf)
    most_by_author = max(1, -(-wanted * AUTHOR_PLACES // PAGE))
    by_author: dict[int, int] = {}
    order: list[int] = []
    for place in range(min(wanted, len(value))):
        tried = value + fresh
        explored = place % PAGE == EXPLORED_AT and float(tried.max()) > -BEYOND / 2
        best = int((tried if explored else value).argmax())
        order.append(best)
        value[channels == channels[best]] -= CHANNEL_COST
        author = int(authors[best])
        by_author[author] = by_author.get(author, 0) + 1
        if author != NO_AUTHOR and by_author[author] == most_by_author:
            value[authors == author] -= BEYOND
        value[best] = -np.inf
    return np.array(order, np.intp)
