"""What readers saw, over the whole site: how often each place of a page is clicked, and how often
each article was shown.

The first says what a click is worth: the top of a page is clicked most, by every reader. The second
makes exploration fair: a new article has no clicks, so no signal proposes it, and it must be shown
some times before its clicks can speak. Both are folded from the behaviour log by one thread and
read by all. Rejected: a curve of attention fixed in the code; sites show three cards on a telephone
or thirty on a desk.

    exposures = Exposures()
    exposures.fold_batch([12, 7], at_ms)
    exposures.fold_click(position=0, at_ms=at_ms)
    exposures.showings(np.array([7, 8]))  # [1, 0]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, repeat

import numpy as np
from numpy.typing import NDArray

MOST_POSITIONS = 100
# What the rates of a site's first minutes are drawn to: .12 at the top, falling as position^-.4.
PRIOR_SHOWINGS = 50.0
PRIOR_CLICKS = 6.0
# All workers of a site read the same log, from 24 hours before they start: what is older than that
# counts 1/16 or less, so that they agree.
HALF_LIFE_MS = 6 * 3_600_000
MOST_ARTICLES = 200_000


class Exposures:
    """Folded from the behaviour log, whose events may come out of order.

    Bounded: two arrays of 100, and a count for each of the latest 200,000 articles (20 MB at most).

    Attributes:
        folded: how many batches were.
    """

    def __init__(self) -> None:
        self._prior = PRIOR_CLICKS * (np.arange(MOST_POSITIONS) + 1.0) ** -0.4
        self._shown_at = np.zeros(MOST_POSITIONS)
        self._clicked_at = np.zeros(MOST_POSITIONS)
        self._period = 0
        self.folded = 0
        self._showings: dict[int, int] = {}

    def fold_batch(self, article_ids: Sequence[int], at_ms: int) -> None:
        """A batch was seen, these articles from the top."""
        self._shown_at[: len(article_ids)] += self._weight(at_ms)
        counts = self._showings
        for article_id in article_ids:
            counts[article_id] = counts.get(article_id, 0) + 1
        if len(counts) > MOST_ARTICLES:
            self._showings = dict(islice(counts.items(), len(counts) // 2, None))
        self.folded += 1

    def fold_click(self, position: int, at_ms: int) -> None:
        """The article at that place was clicked; places past the hundredth are none."""
        if 0 <= position < MOST_POSITIONS:
            self._clicked_at[position] += self._weight(at_ms)

    def expected(self) -> NDArray[np.float64]:
        """The clicks that a showing at each place is worth, float64 (100,), from 0 to 1."""
        # A click can be folded before its batch is, and a browser can lose the exposure.
        return np.minimum((self._clicked_at + self._prior) / (self._shown_at + PRIOR_SHOWINGS), 1.0)

    def showings(self, article_ids: Iterable[int]) -> NDArray[np.int64]:
        """How often each of these articles was shown."""
        return np.fromiter(map(self._showings.get, article_ids, repeat(0)), np.int64)

    def _weight(self, at_ms: int) -> float:
        """What an event of that moment weighs. Periods begin at the same moments in each worker."""
        period = at_ms // HALF_LIFE_MS
        if period > self._period:
            kept = 2.0 ** max(self._period - period, -60)
            self._shown_at *= kept
            self._clicked_at *= kept
            self._period = period
        return float(2.0 ** max(at_ms / HALF_LIFE_MS - self._period, -60.0))
