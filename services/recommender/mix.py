"""mix: from the best articles to a good page.

The ranking alone would give a whole page to one channel and one prolific author, show one story
twice, and never show what no reader has clicked yet. So a place is filled at a time: each article
already taken costs the others of its channel a little, an author gets three places in ten while
others are waiting, an article that is nearly the same as one on the page comes after all others,
one place in ten goes to an article that few readers were shown, and some to channels of which
little is known of this reader (`trials`). Mixing reorders; it never makes a page shorter. Rejected:
maximal marginal relevance among all candidates, which moved no figure.

    candidates.ids[mix(candidates, view, wanted=10, prints_of=texts.prints)]
"""

from __future__ import annotations

from collections.abc import Callable, Container

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Candidates
from services.recommender.catalogue import NO_AUTHOR, View
from services.recommender.changing import LIKED, MOST_AFFINITY
from services.recommender.features import FEATURES
from services.recommender.sources.untried import UNTRIED

# What each article already taken from a channel costs the others of that channel: in general, and
# besides where the reader's affinities to channels are at their bound, so that their second channel
# has a place beside the first, and a taste that has changed is looked for in many.
CHANNEL_COST = 0.06
TASTE_COST = 0.2
AUTHOR_PLACES = 3
PAGE = 10
# The seventh place is looked at by half of the readers, and costs none of the first ones.
EXPLORED_AT = 6
# Of 64 bits; on 2,225 full texts a distance of 8 is a cosine of .88, and no pair was a false one.
NEARLY_SAME_BITS = 8
# Farther than any two scores: such articles come last, in the order of their scores.
BEYOND = 1e6
_CHANNEL = FEATURES.index("channel")


# From ids, int64 (n,), the `Texts.prints` of each.
PrintsOf = Callable[[NDArray[np.int64]], NDArray[np.uint64]]


def no_prints(article_ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Of no article the text is known."""
    return np.zeros(len(article_ids), np.uint64)


def mix(
    candidates: Candidates,
    view: View,
    wanted: int,
    *,
    prints_of: PrintsOf = no_prints,
    on_trial: Container[int] = (),
) -> NDArray[np.intp]:
    """Which candidates to show, in order.

    Args:
        candidates: with their `scores`.
        prints_of: tells which of them are nearly the same.
        on_trial: places of ten for channels of which little is known.

    Returns:
        Indices of candidates, at most `wanted`.
    """
    prints = prints_of(candidates.ids)
    channels, authors = view.channels[candidates.rows], view.authors[candidates.rows]
    value = candidates.scores.astype(np.float64)
    affinities = candidates.features[:, _CHANNEL]
    strongest = float(np.abs(affinities).max(initial=0.0))
    channel_cost = CHANNEL_COST + TASTE_COST * strongest / MOST_AFFINITY
    # How many more of its channel each may be brought by a place on trial: so a second liked
    # channel keeps its place beside the first.
    more = np.where(affinities > LIKED, 2, 1)
    untried = candidates.sources == UNTRIED.number
    most_by_author = max(1, -(-wanted * AUTHOR_PLACES // PAGE))
    by_author: dict[int, int] = {}
    order: list[int] = []
    for place in range(min(wanted, len(value))):
        preferred = None
        if place % PAGE in on_trial:
            preferred = _most_liked(affinities, among=(more > 0) & (value > -BEYOND / 2))
        elif place % PAGE == EXPLORED_AT:
            preferred = untried
        best = _best(value, preferred)
        order.append(best)
        same = channels == channels[best]
        more -= same
        # PERF: half of what a mask takes as an index.
        value -= channel_cost * same
        value[best] = -np.inf
        author = int(authors[best])
        by_author[author] = by_author.get(author, 0) + 1
        if author != NO_AUTHOR and by_author[author] == most_by_author:
            value[authors == author] -= BEYOND
        if prints[best]:
            distance = np.bitwise_count(prints ^ prints[best])
            value[(distance <= NEARLY_SAME_BITS) & (prints != 0)] -= BEYOND
    return np.array(order, np.intp)


def _most_liked(affinities: NDArray[np.float32], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the channels that are liked most of these, or disliked least."""
    liking = np.where(among, affinities, -np.inf)
    most: NDArray[np.bool_] = among & (liking == liking.max())
    return most


def _best(value: NDArray[np.float64], preferred: NDArray[np.bool_] | None) -> int:
    """The best that is left, of the preferred ones if one of those is left and may still come."""
    if preferred is not None:
        among = np.where(preferred, value, -np.inf)
        best = int(among.argmax())
        if among[best] > -BEYOND / 2:
            return best
    return int(value.argmax())
