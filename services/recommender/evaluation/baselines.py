"""What a recommender must beat: a counter, co-visitation with a counter, and the blend that the
first release served.

Days differ by .05 for every model, so a figure says little alone, and a margin in the same run says
much. Each baseline is a contender that learns from the log's own columns and is made anew as often
as a job would make it. Rejected: libraries for them; what is compared with must be readable here.

    for asked in replay(log, clicks, learn):
        counter.answer(asked).shown
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.log import Log
from services.recommender.evaluation.measures import AT, DEPTH
from services.recommender.evaluation.replay import Asked
from tidings.news.channels import FOR_YOU

MINUTE_MS = 60 * 1000
HOUR_MS = 60 * MINUTE_MS
REMADE_EVERY_MS = 10 * MINUTE_MS


_NO_ROWS: NDArray[np.int32] = np.empty(0, np.int32)
_NO_SOURCES: NDArray[np.uint8] = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a contender would have shown; rows of the log's view, none that was seen.

    Attributes:
        ranked: (k ≤ DEPTH,) int32, the best first, before anything is mixed.
        shown: (AT,) int32 at most, in the order of the page.
        sources: (AT,) uint8 at most, which source brought each shown one, where there are sources.
    """

    ranked: NDArray[np.int32]
    shown: NDArray[np.int32]
    sources: NDArray[np.uint8] = field(default_factory=lambda: _NO_SOURCES)


class Contender(Protocol):
    """What answers the questions of a replay."""

    name: str

    def answer(self, asked: Asked) -> Answer:
        """What the feed would hold."""
        ...


def best_first(scores: NDArray[np.float64], most: int) -> NDArray[np.int32]:
    """About `most` rows with the highest scores above 0; equal scores by row."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > most:
        rows = rows[scores[rows] >= np.partition(scores[rows], -most)[-most]]
    best: NDArray[np.int32] = rows[np.argsort(-scores[rows], kind="stable")].astype(np.int32)
    return best


def without(rows: NDArray[np.int32], seen: NDArray[np.int32]) -> NDArray[np.int32]:
    """Those rows that were not seen, in their order."""
    if not len(seen):
        return rows
    places = np.minimum(np.searchsorted(seen, rows), len(seen) - 1)
    unseen: NDArray[np.int32] = rows[seen[places] != rows]
    return unseen


class HourlyCounter:
    """The most clicked of the last hour, counted every ten minutes."""

    name = "counter of the last hour"

    def __init__(self, log: Log) -> None:
        self._log = log
        self._made_ms = -1
        self._best = _NO_ROWS
        self.counts = np.zeros(len(log.view))

    def answer(self, asked: Asked) -> Answer:
        self.remake(asked.now_ms)
        return _unmixed(without(self._best, asked.seen))

    def remake(self, now_ms: int) -> None:
        """Count anew if ten minutes are over."""
        made_ms = now_ms // REMADE_EVERY_MS * REMADE_EVERY_MS
        if made_ms != self._made_ms:
            self._made_ms = made_ms
            self.counts = count(self._log, made_ms - HOUR_MS, made_ms)
            self._best = best_first(self.counts, most=len(self.counts))


class Covisitation:
    """What sessions of the last six hours joined with this session's articles, by cosine (Linden,
    Smith, York 2003), the older the less (1/d), + .3 of the hourly counter's share of its maximum;
    made anew every ten minutes."""

    name = "co-visitation 6 h + .3 counter"
    WINDOW_MS = 6 * HOUR_MS
    COUNTER = 0.3
    LONGEST = 10

    def __init__(self, log: Log) -> None:
        self._log = log
        self._counter = HourlyCounter(log)
        self._made_ms = -1
        self._starts: NDArray[np.int64] = np.zeros(len(log.view) + 1, np.int64)
        self._others: NDArray[np.int64] = np.empty(0, np.int64)
        self._cosines: NDArray[np.float64] = np.empty(0)

    def answer(self, asked: Asked) -> Answer:
        self._counter.remake(asked.now_ms)
        self._remake(asked.now_ms)
        counts = self._counter.counts
        scores = self.COUNTER * counts / max(counts.max(), 1.0)
        for distance, row in enumerate(asked.session[: self.LONGEST], start=1):
            of_row = slice(self._starts[row], self._starts[row + 1])
            scores[self._others[of_row]] += self._cosines[of_row] / distance
        best = best_first(scores, most=DEPTH + len(asked.seen))
        return _unmixed(without(best, asked.seen))

    def _remake(self, now_ms: int) -> None:
        made_ms = now_ms // REMADE_EVERY_MS * REMADE_EVERY_MS
        if made_ms == self._made_ms:
            return
        self._made_ms = made_ms
        log, number = self._log, len(self._log.view)
        window = slice(log.before(made_ms - self.WINDOW_MS), log.before(made_ms))
        by_session = np.argsort(log.sessions[window], kind="stable")
        sessions, rows = log.sessions[window][by_session], log.rows[window][by_session]
        pairs = [np.empty(0, np.int64)]
        for distance in range(1, self.LONGEST):
            together = sessions[distance:] == sessions[:-distance]
            first = rows[:-distance][together].astype(np.int64)
            second = rows[distance:][together].astype(np.int64)
            pairs += [first * number + second, second * number + first]
        keys, times = np.unique(np.concatenate(pairs), return_counts=True)
        of, self._others = np.divmod(keys, number)
        clicks = np.bincount(rows, minlength=number)
        self._cosines = times / np.sqrt(clicks[of] * clicks[self._others])
        self._starts = np.searchsorted(of, np.arange(number + 1))


class Released:
    """The first release's blend: .6 of its hot list + .4 of freshness, of the hot list's 200 and
    the 30 newest unseen. The hot list counts the last 10 minutes six times, the last hour twice and
    the last 24 hours once, made anew each minute as the job did; freshness halves in 12 hours. Of
    ten places, the fifth and the tenth are for the newest that the ranking left out."""

    name = "blend of the first release"
    WINDOWS = ((10 * MINUTE_MS, 6.0), (HOUR_MS, 2.0), (24 * HOUR_MS, 1.0))
    HOT, LATEST = 0.6, 0.4
    HOT_LENGTH = 200
    LATEST_LENGTH = 30
    HALF_LIFE_MS = 12 * HOUR_MS
    EXPLORE_EVERY = 5

    def __init__(self, log: Log) -> None:
        self._log = log
        self._made_ms = -1
        self._hot = _NO_ROWS
        self._scores = np.zeros(len(log.view))

    def answer(self, asked: Asked) -> Answer:
        self._remake(asked.now_ms)
        view = self._log.view
        newest = view.newest(FOR_YOU.channel_id, asked.now_ms)
        newest = without(newest[: self.LATEST_LENGTH + len(asked.seen)], asked.seen)
        newest = newest[: self.LATEST_LENGTH]
        hot = without(self._hot, asked.seen)
        rows = np.union1d(newest, hot)
        scores = np.zeros(len(rows))
        age_ms = asked.now_ms - view.published[newest]
        scores[np.searchsorted(rows, newest)] = self.LATEST * 0.5 ** (age_ms / self.HALF_LIFE_MS)
        scores[np.searchsorted(rows, hot)] += self.HOT * self._scores[hot]
        ranked = rows[np.lexsort((-rows, -view.published[rows], -scores))]
        return Answer(ranked[:DEPTH], self._mix(ranked, newest))

    def _mix(self, ranked: NDArray[np.int32], newest: NDArray[np.int32]) -> NDArray[np.int32]:
        explored = AT // self.EXPLORE_EVERY
        page = ranked[: AT - explored].tolist()
        left_out = [row for row in newest.tolist() if row not in page]
        for number, row in enumerate(left_out[:explored], start=1):
            page.insert(number * self.EXPLORE_EVERY - 1, row)
        return np.array(page, np.int32)

    def _remake(self, now_ms: int) -> None:
        made_ms = now_ms // MINUTE_MS * MINUTE_MS
        if made_ms == self._made_ms:
            return
        self._made_ms = made_ms
        scores = np.zeros(len(self._log.view))
        for window_ms, weight in self.WINDOWS:
            scores += weight * count(self._log, made_ms - window_ms, made_ms)
        self._hot = best_first(scores, most=self.HOT_LENGTH)[: self.HOT_LENGTH]
        self._scores = scores / max(scores.max(), 1.0)


def _unmixed(ranked: NDArray[np.int32]) -> Answer:
    return Answer(ranked[:DEPTH], ranked[:AT])


def count(log: Log, since_ms: int, until_ms: int) -> NDArray[np.float64]:
    """Clicks of each row from one moment until before another, float64."""
    rows = log.rows[log.before(since_ms) : log.before(until_ms)]
    return np.bincount(rows, minlength=len(log.view)).astype(np.float64)
