"""hot: what is read a lot just now, counted in memory.

Proposes the 200 most read of a channel: share of the later clicks of sessions (half-life 20
minutes) + half the share of all clicks (5 minutes) + a fifth of that of three hours, .56 of hit@10
where a ranking of the last day, made once a minute, had .36. The lists are made anew every second
for ten thousand active articles and every ten for a hundred thousand, a quarter of a percent of a
core; signals that all readers share may be 60 s old without a measurable loss. Rejected: a request
to Redis for a ranking that another process makes.

    hot = Hot(signals)
    hot(question, view).rows  # the most read first
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import NO_ROW, View
from services.recommender.question import Question
from services.recommender.signals.counters import Kind
from services.recommender.signals.folding import Signals
from tidings.news.channels import FOR_YOU

HOT = Source(number=2, name="hot")
MOST_PROPOSED = 200
SOONEST_MS = 1000
ARTICLES_PER_MS = 10
WEIGHTS = ((Kind.LATER_20M, 1.0), (Kind.ALL_5M, 0.5), (Kind.ALL_3H, 0.2))


class Hot:
    """Proposes what is read most in the channel; called under the signals' lock."""

    source = HOT

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._made_ms = 0
        self._lists: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}

    def __call__(self, question: Question, view: View) -> Proposed:
        # A clock that was set back makes them anew as well.
        if not 0 <= question.now_ms - self._made_ms < made_anew_ms(len(self._signals)):
            self._make(view)
            self._made_ms = question.now_ms
        found = self._lists.get(question.channel_id)
        if found is None:
            return NOTHING
        ids, strengths = found
        return Proposed(view.rows_of(ids), strengths, np.zeros(len(ids), np.int64))

    def _make(self, view: View) -> None:
        counters = self._signals.counters
        slots, ids = self._signals.active()
        value = np.zeros(len(slots))
        for kind, weight in WEIGHTS:
            value += weight * np.maximum(counters.of(kind)[slots], 0.0) / counters.total(kind)
        rows = view.rows_of(ids)
        known = ((rows != NO_ROW) & (value > 0)).nonzero()[0]
        channels = view.channels[rows[known]]
        by_channel = np.argsort(channels, kind="stable")
        found, starts = np.unique(channels[by_channel], return_index=True)
        # Of no articles, `split` makes one part.
        parts = np.split(known[by_channel], starts[1:])
        best = {
            channel_id: _best(own, ids, value)
            for channel_id, own in zip(found.tolist(), parts, strict=False)
        }
        best[FOR_YOU.channel_id] = _best(np.concatenate([known[:0], *best.values()]), ids, value)
        self._lists = {
            channel_id: (ids[own], value[own].astype(np.float32))
            for channel_id, own in best.items()
        }


def _best(
    which: NDArray[np.intp], ids: NDArray[np.int64], value: NDArray[np.float64]
) -> NDArray[np.intp]:
    """The most read of these, `MOST_PROPOSED` at most, the first of equals being the lower id."""
    if len(which) > MOST_PROPOSED:
        # PERF: only what can be among them is sorted; all of it would hold requests up for 20 ms.
        least = np.partition(value[which], -MOST_PROPOSED)[-MOST_PROPOSED]
        which = which[value[which] >= least]
    return which[np.lexsort((ids[which], -value[which]))[:MOST_PROPOSED]]


def made_anew_ms(active: int) -> int:
    """How long the lists of so many active articles serve."""
    return max(SOONEST_MS, active // ARTICLES_PER_MS)
