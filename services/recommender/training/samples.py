"""What the ranker learns from: the lists of candidates that serving itself would have ranked.

The log is replayed through the chooser, and for each sampled click the hundred candidates of that
moment are kept with their features, together with which of them the reader went on to. Lists of
other candidates teach something else: with drawn negatives from the tail the trained ranker lost
.045 of hit@10. A list whose click is not among the candidates teaches nothing, but it counts when a
ranker is judged. Rejected: features computed by SQL beside those of serving.

    lists = collect(log, clicks, serving.chooser, question_of=serving.question, learn=serving.learn)
    judge(lists, Blend()).figures["hit10"]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.choosing import Chooser
from services.recommender.cut import RANKED
from services.recommender.evaluation.log import Log
from services.recommender.evaluation.replay import Asked, Learn, replay
from services.recommender.features import FEATURES, SIGNAL_FEATURES
from services.recommender.question import Question
from services.recommender.rank.ranker import Ranker
from services.recommender.trace import Trace
from services.recommender.training.deciding import Judged

AT = 10
MISSED = -1
# A log does not tell what each reader was shown, and taste without that is wrong: it never follows
# one that changes. So taste is not learned, and its columns are nothing here.
SIGNALS = len(SIGNAL_FEATURES)
# The hundred of the cut, and what sources have reserved.
MOST_RANKED = 2 * RANKED


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of candidates, one after another, in the order of time.

    Attributes:
        features: (candidates, len(FEATURES)) float32.
        starts: (lists + 1,) int64, where each list begins, and the end.
        right: (lists,) int32, place within its list of the article that was clicked, or `MISSED`.
        at_ms: (lists,) int64, the moment of each.
    """

    features: NDArray[np.float32]
    starts: NDArray[np.int64]
    right: NDArray[np.int32]
    at_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.right)

    def part(self, first: int, end: int) -> Lists:
        """The lists from `first` to before `end`."""
        starts = self.starts[first : end + 1]
        return Lists(
            features=self.features[starts[0] : starts[-1]],
            starts=starts - starts[0],
            right=self.right[first:end],
            at_ms=self.at_ms[first:end],
        )


def collect(
    log: Log,
    clicks: NDArray[np.int64],
    chooser: Chooser,
    *,
    question_of: Callable[[Asked], Question],
    learn: Learn,
    on_list: Callable[[], None] = lambda: None,
) -> Lists:
    """The list of each of these clicks.

    Args:
        log: what happened.
        clicks: places in the log, ascending.
        chooser: makes the lists; `learn` tells its signals of the log.
        question_of: what the reader asks at that moment.
        on_list: called after each list.
    """
    # Room for the longest lists; the system gives only that which is written to.
    features = np.empty((len(clicks) * MOST_RANKED, len(FEATURES)), np.float32)
    starts = np.zeros(len(clicks) + 1, np.int64)
    right = np.full(len(clicks), MISSED, np.int32)
    for number, asked in enumerate(replay(log, clicks, learn)):
        trace = Trace()
        chooser.choose(question_of(asked), trace)
        start = starts[number]
        starts[number + 1] = start
        if trace.ranked is not None and len(trace.ranked):
            rows = trace.ranked.rows[:MOST_RANKED]
            starts[number + 1] = end = start + len(rows)
            features[start:end, :SIGNALS] = trace.ranked.features[:MOST_RANKED, :SIGNALS]
            features[start:end, SIGNALS:] = 0
            place = np.flatnonzero(rows == asked.next_row)
            right[number] = place[0] if len(place) else MISSED
        on_list()
    return Lists(features[: starts[-1]], starts, right, log.at_ms[clicks])


def changing(lists: Lists) -> NDArray[np.intp]:
    """The columns that are not the same for every candidate."""
    if not len(lists.features):
        return np.empty(0, np.intp)
    return np.flatnonzero(lists.features.min(axis=0) != lists.features.max(axis=0))


def teach(
    lists: Lists, columns: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int32]]:
    """These columns, what was clicked, and the length of each list, of those lists that teach."""
    lengths = np.diff(lists.starts)
    teaches = (lists.right != MISSED) & (lengths > 1)
    clicked = np.zeros(len(lists.features), np.int8)
    clicked[(lists.starts[:-1] + lists.right)[teaches]] = 1
    kept = np.flatnonzero(np.repeat(teaches, lengths))
    features = lists.features[kept[:, None], columns[None, :]]
    return features, clicked[kept], lengths[teaches].astype(np.int32)


def judge(lists: Lists, ranker: Ranker) -> Judged:
    """hit@10, ndcg@10 and mrr@10 of a ranker over these lists; of equal scores the clicked article
    counts as the last."""
    places = np.full(len(lists), MISSED)
    for number in np.flatnonzero(lists.right != MISSED):
        scores = ranker.score(lists.features[lists.starts[number] : lists.starts[number + 1]])
        places[number] = (scores >= scores[lists.right[number]]).sum() - 1
    hit = (places != MISSED) & (places < AT)
    place = np.where(hit, places, 0)
    worth = hit / np.log2(place + 2)
    figures = {
        "hit10": float(hit.mean()),
        "ndcg10": float(worth.mean()),
        "mrr10": float((hit / (place + 1)).mean()),
    }
    return Judged(figures, worth.astype(np.float32))
