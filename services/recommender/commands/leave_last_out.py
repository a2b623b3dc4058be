"""The protocol `leave-last-out`: what did each reader choose last, of all that they had not chosen?

For logs without sessions. Judges the source `collaborative` alone, beside what most readers chose:
learnt from all choices but each reader's last. A reader with fewer than five is learnt from and not
asked. Learning needs the extra `[train]`.

    judge_last_left_out(log, seed=1)[0]["hit@10"]["value"]
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.log import Log
from services.recommender.evaluation.measures import DEPTH, MISSED, Ranks, measure, resample
from services.recommender.models.neighbours import Neighbours, reading_weights

LEAST = 5


class NoReadersError(ValueError):
    """No reader has chosen enough."""


def judge_last_left_out(log: Log, *, seed: int) -> list[dict[str, Any]]:
    """The figures of both.

    Raises:
        NoReadersError: there is nothing to ask.
        ImportError: the extra `[train]` is not installed.
    """
    # Serving never imports what learns, nor does the command for another protocol.
    from services.recommender.training.judging import leave_last_out
    from services.recommender.training.neighbouring import learn

    readers, articles = _choices(log)
    kept, asked = leave_last_out(readers, articles, least=LEAST)
    if not asked:
        raise NoReadersError(f"no reader has chosen {LEAST} articles")
    neighbours = Neighbours(*learn(readers[kept], articles[kept]))
    ids, times = np.unique(articles[kept], return_counts=True)
    popular = ids[np.argsort(-times, kind="stable")]
    ranks: dict[str, Ranks] = {
        name: np.full(len(asked), MISSED, np.int32) for name in ("collaborative", "most chosen")
    }
    for number, one in enumerate(asked):
        most = len(one.read) + DEPTH
        near = neighbours.of(one.read, reading_weights(len(one.read)), most).ids
        for name, proposed in (("collaborative", near), ("most chosen", popular[:most])):
            fresh = proposed[~np.isin(proposed, one.read)][:DEPTH]
            place = np.flatnonzero(fresh == one.right)
            if len(place):
                ranks[name][number] = place[0] + 1
    weights = resample(len(asked), seed)
    return [
        {"name": name, "questions": len(asked)}
        | {measured: asdict(value) for measured, value in measure(found, weights).items()}
        for name, found in ranks.items()
    ]


def _choices(log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Readers and what they chose, by reader and then time, each pair once: the first time."""
    readers, articles = log.readers[log.by_reader], log.view.ids[log.rows[log.by_reader]]
    _, first = np.unique(np.stack((readers, articles)), axis=1, return_index=True)
    first.sort()
    return readers[first], articles[first]
