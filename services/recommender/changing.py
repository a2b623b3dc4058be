"""Tells when a reader's taste has changed: from which page on what they did still says what they
like.

Old evidence fades with time, but a taste that changes at once leaves pages full of what is not
liked any more until it has. So each page adds to a doubt how much likelier its clicks are at a
fifth of the clicks that liked channels let expect than at all of them, never below 0 (the
cumulative sum of Page 1954, "Continuous inspection schemes"). Once the doubt is great enough, what
was before the page that began it counts for nothing. A page without liked channels, as when they
have nothing new, says nothing, and a reader who seldom clicks lets expect little. Rejected: old
clicks that fade faster by each page without a click; where liked channels run dry that forgets a
taste that is still right.

    first_that_holds(expected, clicks, weights)  # 12: what was before the 13th page is forgotten
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# More than this says no more: a second liked channel stands beside the first, rather than below it.
MOST_AFFINITY = 0.8
# What is left of the clicks on channels when they are liked no more.
CLICKS_LEFT = 0.2
# A page without a click where 2.5 are expected, or two where 1.25 are. Less than that comes by
# chance to a reader whose taste is as it was on one page of seven.
DOUBTED = 2.0
# A channel with more than this is liked: the first click on it was some batches ago, say.
LIKED = 0.1

Table = NDArray[np.float64]


def affinity(clicks: Table, expected: Table) -> Table:
    """How much more often than expected something was clicked, from -.8 to .8; 0 where nothing is
    known."""
    return np.clip(np.log((clicks + 1.0) / (expected + 1.0)), -MOST_AFFINITY, MOST_AFFINITY)


def first_that_holds(expected: Table, clicks: Table, weights: Table) -> int:
    """The first page whose evidence still holds.

    Args:
        expected: clicks that the places of a page let expect of each channel, by what they count
            now, (pages, channels), the oldest page first.
        clicks: that came, the same.
        weights: what each page's evidence counts now, (pages,), above 0.
    """
    first = 0
    while (change := _first_change(expected[first:], clicks[first:], weights[first:])) > 0:
        first += change
    return first


def _first_change(expected: Table, clicks: Table, weights: Table) -> int:
    """The page from which on the taste of the pages before does not hold; 0 if it does on all."""
    if len(weights) < 2:
        return 0
    weight = weights[:, None]
    known_clicks = (clicks.cumsum(axis=0) / weight)[:-1]
    known_expected = (expected.cumsum(axis=0) / weight)[:-1]
    liking = affinity(known_clicks, known_expected)
    liked = np.where(liking > LIKED, np.exp(liking), 0.0)
    hopes = (liked * (expected / weight)[1:]).sum(axis=1)
    came = ((liked > 0) * (clicks / weight)[1:]).sum(axis=1)
    doubt, began = 0.0, 0
    for page, (hope, number) in enumerate(zip(hopes.tolist(), came.tolist(), strict=True), start=1):
        if doubt == 0.0:
            began = page
        doubt = max(doubt + hope * (1.0 - CLICKS_LEFT) + number * math.log(CLICKS_LEFT), 0.0)
        if doubt >= DOUBTED:
            return began
    return 0
