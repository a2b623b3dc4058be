"""Which places of a page are on trial: given to channels of which little is known, though others
score higher.

A reader likes more channels than the first that was found, and those that score highest leave no
place to find the second. So once a taste is known, as many places are on trial as channels are
missing: all while none is liked, which is how it is after a taste has changed; half while
one is; and one while there are two or more. What is tried and not clicked falls behind the
channels that were not, so each has its turn. A reader with one interest is not searched for a
second for ever: after twenty clicks one place is left. Rejected: a bonus in the score for what is
little known, which cannot be strong enough for a large site without taking the page of a small one.

    places_on_trial(clicks=7, held=7, lately=4.1, affinities=taste.channel_affinities)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Clicks on pages before the newest. The page straight after the fifth click is of what was found.
KNOWN_CLICKS = 5
# Of one taste; after so many, one channel is all that the reader likes.
SEARCHED_CLICKS = 20
# By what they count now: a reader who clicks on fewer than one page of five is shown what is read
# most, since a search would take too long to find anything.
CLICKS_LATELY = 1.0
# One click on the page before is .6 where nothing was expected; an old one fades to less than this.
CLEAR_AFFINITY = 0.25
ALL_PLACES = tuple(range(10))
HALF_THE_PLACES = (1, 2, 3, 5, 7)
# The seventh place is otherwise for articles that few have seen.
ONE_PLACE = (8,)


def places_on_trial(
    clicks: int, held: int, *, lately: float, affinities: NDArray[np.float32]
) -> tuple[int, ...]:
    """The places of the next ten that are on trial, 0 being the top; none before a taste is known.

    Args:
        clicks: on all pages but the newest.
        held: those of them that still hold, since the taste changed last.
        lately: what all these clicks count now.
        affinities: of the reader to channels.
    """
    if clicks < KNOWN_CLICKS or lately < CLICKS_LATELY:
        return ()
    liked = int((affinities > CLEAR_AFFINITY).sum())
    if liked == 0:
        return ALL_PLACES
    return HALF_THE_PLACES if liked == 1 and held < SEARCHED_CLICKS else ONE_PLACE
