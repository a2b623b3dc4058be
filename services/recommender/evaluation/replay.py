"""Replays a log under a simulated clock: what readers did is learnt in its order, and each question
is asked when nothing of its own moment, or of later, is known.

A question stands where a reader goes on to a next article in a session, the moment of that click.
Contenders are told what happened up to a lateness before it; the reader's own clicks are always
known, as the request brings them. Evaluation, tuning and training all ask through here, so that
none of them sees the future in a way that serving does not.

    for asked in replay(log, clicks, learn=signals_learn):
        asked.next_row  # what a good answer holds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.log import Log

# Learning in such steps, a contender sees a minute of a busy site at once at most.
LEARN_AT_MOST = 4096

Learn = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A reader is about to go on: what should the feed hold?

    Attributes:
        click: place in the log of the click that is to be guessed.
        now_ms: its moment.
        next_row: the article's row.
        session: (k,) int32 rows of the session's earlier clicks, the newest first.
        seen: int32 rows of all that the reader clicked before, sorted.
        earlier: int64 places in the log of all that the reader clicked before, oldest first.
    """

    click: int
    now_ms: int
    next_row: int
    session: NDArray[np.int32]
    seen: NDArray[np.int32]
    earlier: NDArray[np.int64]


def sample_clicks(
    log: Log, *, since_ms: int, until_ms: int, most: int, seed: int
) -> NDArray[np.int64]:
    """Up to `most` clicks of this time that follow another one in their session, in the order of
    time; the same ones for the same seed."""
    within = np.arange(log.before(since_ms), log.before(until_ms))
    candidates = within[log.prefix[within] > 0]
    if len(candidates) > most:
        chosen = np.random.default_rng(seed).choice(candidates, most, replace=False)
        candidates = np.sort(chosen)
    return candidates


def replay(
    log: Log, clicks: NDArray[np.int64], learn: Learn, *, late_ms: int = 0
) -> Iterator[Asked]:
    """Ask for each of these clicks, having told of each earlier one of the log.

    Args:
        log: what happened.
        clicks: places in the log, ascending.
        learn: is told of the clicks `start` to `stop` of the log, each once, in their order.
        late_ms: how late the signals that all readers share are.
    """
    told = 0
    for click in clicks.tolist():
        now_ms = int(log.at_ms[click])
        until = log.before(now_ms - late_ms)
        while told < until:
            stop = min(until, told + LEARN_AT_MOST)
            learn(told, stop)
            told = stop
        yield _ask(log, click, now_ms)


def _ask(log: Log, click: int, now_ms: int) -> Asked:
    earlier = log.earlier_of_reader(click)
    in_session = earlier[log.sessions[earlier] == log.sessions[click]]
    return Asked(
        click=click,
        now_ms=now_ms,
        next_row=int(log.rows[click]),
        session=log.rows[in_session[::-1]],
        seen=np.unique(log.rows[earlier]),
        earlier=earlier,
    )
