"""The question of one request: who asks for how many articles of which channel, and all that is
known of the reader.

Everything the pipeline may look at is in here, the clock too, so that a feed can be made again from
its question alone: in a test, by `tidings evaluate`, by training. Rejected: sources that ask Redis
or the clock themselves, whose answers no replay of a log could repeat.

    question = Question(7, channel_id=0, wanted=10, now_ms=now_ms, reader=state)
    session_of(question.reader.acts, now_ms).clicked  # (12, 7): newest first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidings.reading.acts import Action
from tidings.reading.contexts import NO_CONTEXT, Context
from tidings.reading.reader_state import Acted, ReaderState

SESSION_IDLE_MS = 30 * 60 * 1000
SESSION_CLICKS = 10
EARLIER_CLICKS = 30
# What says that an article was chosen; saving or liking one follows from reading it.
_CHOSEN = frozenset({Action.CLICK, Action.READING, Action.COLLECT, Action.LIKING})
NO_IDS: NDArray[np.int64] = np.empty(0, np.int64)
NO_IDS.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One reader wants `wanted` fresh articles of a channel at `now_ms`.

    Attributes:
        reader: what the reader was shown and did, and hides.
        context: on which device and from where they came.
        exclude: ids, ascending, that the caller does not want; int64.
    """

    reader_id: int
    channel_id: int
    wanted: int
    now_ms: int
    reader: ReaderState
    context: Context = NO_CONTEXT
    exclude: NDArray[np.int64] = field(default_factory=lambda: NO_IDS)


class Session(NamedTuple):
    """What a reader chose: in this session, and before it; article ids, newest first, each once."""

    clicked: Sequence[int]
    earlier: Sequence[int]


def disliked(acts: Sequence[Acted]) -> frozenset[int]:
    """The articles that these acts dislike; what was taken back is not among acts."""
    return frozenset(act.article_id for act in acts if act.action is Action.DISLIKE)


def session_of(acts: Sequence[Acted], now_ms: int) -> Session:
    """The last ten articles of the session that goes on, and the last thirty of those before.

    A session ends after thirty idle minutes. A clock that was set back ends none: what lies in the
    future was just now. An article that the reader did not care for after all leads to no other:
    "Because you read" over what they sent away would be an affront.

    Args:
        acts: oldest first.
    """
    clicked: dict[int, None] = {}
    earlier: dict[int, None] = {}
    unwanted = disliked(acts)
    goes_on, after_ms = True, now_ms
    for act in reversed(acts):
        if act.action not in _CHOSEN:
            continue
        goes_on = goes_on and after_ms - act.at_ms <= SESSION_IDLE_MS
        after_ms = min(act.at_ms, after_ms)
        if act.article_id in unwanted:
            continue
        if goes_on:
            clicked[act.article_id] = None
        elif act.article_id not in clicked:
            earlier[act.article_id] = None
        if len(earlier) == EARLIER_CLICKS:
            break
    return Session(tuple(clicked)[:SESSION_CLICKS], tuple(earlier))
