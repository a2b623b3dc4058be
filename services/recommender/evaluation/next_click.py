"""The protocol `next-click`: which article does a reader go on to in a session? A full ranking of
all that is published, before and after mix, of every contender on the same questions.

A batch that is asked for here is not recorded as shown; only what the log clicked counts as seen.
Otherwise every question would empty the feed of the next one. Rejected: ranking the right answer
among some drawn wrong ones, which flatters weak rankings and may reverse their order (Krichene and
Rendle 2020).

    judged = judge(log, clicks, [HourlyCounter(log)])
    judged[0].ranks  # where each right answer stood
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.baselines import Answer, Contender
from services.recommender.evaluation.log import Log
from services.recommender.evaluation.measures import MISSED, Ranks
from services.recommender.evaluation.replay import Learn, replay

# Clicks of the session that a question knows: from one of these on, until before the next.
PREFIXES = (1, 2, 3, 4, 7)
NO_SOURCE = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """One contender's answers to n questions.

    Attributes:
        ranks: (n,) place of the right answer before mix, from 1; `MISSED` where it is not there.
        shown: (n,) its place on the page, after mix.
        sources: (n,) uint8 number of the source that brought the right answer onto the page, or
            `NO_SOURCE`.
    """

    name: str
    ranks: Ranks
    shown: Ranks
    sources: NDArray[np.uint8]


def judge(
    log: Log,
    clicks: NDArray[np.int64],
    contenders: Sequence[Contender],
    *,
    learn: Learn = lambda start, stop: None,
    late_ms: int = 0,
    on_question: Callable[[int], None] = lambda number: None,
) -> list[Judged]:
    """Ask every contender which article is clicked at each of these places of the log.

    Args:
        log: what happened.
        clicks: places in the log, ascending.
        contenders: who answers. The baselines look into the log, up to the question's moment.
        learn: is told of clicks as `replay` tells.
        late_ms: how late the signals are that all readers share.
        on_question: called after each one with its number, from 1.
    """
    judged = [
        Judged(
            contender.name,
            ranks=np.full(len(clicks), MISSED, np.int32),
            shown=np.full(len(clicks), MISSED, np.int32),
            sources=np.full(len(clicks), NO_SOURCE, np.uint8),
        )
        for contender in contenders
    ]
    for number, asked in enumerate(replay(log, clicks, learn, late_ms=late_ms)):
        for one, contender in zip(judged, contenders, strict=True):
            _note(one, number, contender.answer(asked), asked.next_row)
        on_question(number + 1)
    return judged


def _note(judged: Judged, number: int, answer: Answer, right: int) -> None:
    place = np.flatnonzero(answer.ranked == right)
    if len(place):
        judged.ranks[number] = place[0] + 1
    place = np.flatnonzero(answer.shown == right)
    if len(place):
        judged.shown[number] = place[0] + 1
        if len(answer.sources):
            judged.sources[number] = answer.sources[place[0]]


def prefix_of(clicks_before: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each question the place in `PREFIXES` of its number of clicks before."""
    return np.searchsorted(PREFIXES, clicks_before, side="right") - 1
