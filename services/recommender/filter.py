"""filter: which candidates may be shown to this reader in this channel, and why the others may not.

Sources are not asked to look: each would have to, and one would forget. One look at whole columns
serves candidates of all sources, the walk of the backlog and what is shown again. Rejected:
filtering after the ranking, which ranks what cannot be shown.

    verdicts = judge(rows, question, view)
    rows[verdicts == Verdict.FIT]
"""

from __future__ import annotations

from collections.abc import Set
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from services.recommender.candidates import Rows
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from tidings.news.channels import is_every_channel

DROPPED = Counter(
    "tidings_candidates_dropped_total", "Candidates dropped by the filter", ["reason"]
)


class Verdict(IntEnum):
    """What the filter says of an article: it fits, or the first reason why it does not."""

    FIT = 0
    NOT_VISIBLE = 1
    OTHER_CHANNEL = 2
    SEEN = 3
    EXCLUDED = 4
    HIDDEN = 5
    HIDDEN_AUTHOR = 6
    HIDDEN_CHANNEL = 7


def judge(rows: Rows, question: Question, view: View) -> NDArray[np.uint8]:
    """A `Verdict` for each of these rows of the catalogue."""
    verdicts = judge_seen(rows, question, view)
    seen = is_in(question.reader.seen, view.ids[rows])
    verdicts[seen & (verdicts == Verdict.FIT)] = Verdict.SEEN
    return verdicts


def judge_seen(rows: Rows, question: Question, view: View) -> NDArray[np.uint8]:
    """The same, though what was seen before may be shown again."""
    hidden = question.reader.hidden
    verdicts = np.zeros(len(rows), np.uint8)
    # The first reason is written last.
    if hidden.channels:
        verdicts[is_in(_sorted(hidden.channels), view.channels[rows])] = Verdict.HIDDEN_CHANNEL
    if hidden.authors:
        verdicts[is_in(_sorted(hidden.authors), view.authors[rows])] = Verdict.HIDDEN_AUTHOR
    if hidden.articles:
        verdicts[is_in(_sorted(hidden.articles), view.ids[rows])] = Verdict.HIDDEN
    if len(question.exclude):
        verdicts[is_in(question.exclude, view.ids[rows])] = Verdict.EXCLUDED
    if not is_every_channel(question.channel_id):
        verdicts[view.channels[rows] != question.channel_id] = Verdict.OTHER_CHANNEL
    verdicts[view.published[rows] > question.now_ms] = Verdict.NOT_VISIBLE
    return verdicts


def count_dropped(verdicts: NDArray[np.uint8]) -> None:
    """Tell the metrics how many were dropped for which reason."""
    for number, times in enumerate(np.bincount(verdicts).tolist()):
        if times and number != Verdict.FIT:
            _dropped(Verdict(number)).inc(times)


@cache
def _dropped(verdict: Verdict) -> Counter:
    return DROPPED.labels(verdict.name.lower())


def _sorted(ids: Set[int]) -> NDArray[np.int64]:
    return np.sort(np.fromiter(ids, np.int64, len(ids)))
