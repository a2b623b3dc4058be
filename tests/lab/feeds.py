"""What a feed is chosen from, without a database or a server: a few articles, a reader, and a
worker's signals.

    room = Room(articles=30)
    room.click(reader_id=1, article_id=3)
    room.choose(reader(clicks=[3])).ids
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from services.recommender.candidates import Candidates
from services.recommender.catalogue import View, make_view
from services.recommender.choosing import Chosen
from services.recommender.exposures import Exposures
from services.recommender.features import FEATURES
from services.recommender.parts import make_chooser
from services.recommender.question import Question
from services.recommender.signals.folding import Click, Signals
from services.recommender.trace import Trace
from tidings.reading.acts import Action
from tidings.reading.contexts import NO_CONTEXT, Context
from tidings.reading.reader_state import Acted, Batch, Hidden, ReaderState

NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000
NOTHING_HIDDEN = Hidden()


def reader(
    *, clicks: Iterable[int] = (), seen: Iterable[int] = (), hidden: Hidden = NOTHING_HIDDEN
) -> ReaderState:
    """A reader who clicked these just now, oldest first, and was shown those before."""
    acts = tuple(
        Acted(Action.CLICK, article_id, NOW_MS - MINUTE_MS, NOW_MS - MINUTE_MS)
        for article_id in clicks
    )
    ids = array("q", seen)
    batches = [Batch(0, NOW_MS - MINUTE_MS, ids, bytes(len(ids)))] if ids else []
    return ReaderState(1, batches, acts, hidden=hidden)


def question(
    state: ReaderState | None = None,
    *,
    channel_id: int = 0,
    wanted: int = 10,
    now_ms: int = NOW_MS,
    exclude: Sequence[int] = (),
    context: Context = NO_CONTEXT,
) -> Question:
    """A question of reader 7."""
    ids = np.array(sorted(exclude), np.int64)
    state = reader() if state is None else state
    return Question(7, channel_id, wanted, now_ms, state, context, ids)


def a_view(
    number: int, channels: Mapping[int, int] | None = None, authors: Mapping[int, int] | None = None
) -> View:
    """Articles 1 to `number`, each published a minute after the one before it, the last one just
    now; in channel 1 and by no author where not told."""
    ids = np.arange(1, number + 1)
    return make_view(
        ids,
        [(channels or {}).get(id_, 1) for id_ in ids.tolist()],
        [(authors or {}).get(id_, 0) for id_ in ids.tolist()],
        NOW_MS - (number - ids) * MINUTE_MS,
    )


def candidates(ids: Sequence[int], view: View, **columns: object) -> Candidates:
    """Those articles as candidates, in this order; `columns` replace `scores`, `sources` …"""
    number = len(ids)
    made = Candidates(
        rows=view.rows_of(ids),
        ids=np.array(ids, np.int64),
        sources=np.ones(number, np.uint8),
        strengths=np.zeros(number, np.float32),
        because=np.zeros(number, np.int64),
        features=np.zeros((number, len(FEATURES)), np.float32),
        scores=np.zeros(number, np.float32),
    )
    for name, values in columns.items():
        setattr(made, name, np.asarray(values, getattr(made, name).dtype))
    return made


class Room:
    """A catalogue, signals, and the chooser of a worker."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.signals = Signals(sessions=4096)
        self.exposures = Exposures()
        self.chooser = make_chooser(self.signals, lambda: self.view, self.exposures)

    def click(self, reader_id: int, *article_ids: int, at_ms: int = NOW_MS) -> None:
        """Someone else clicked these, one after another."""
        clicks = [Click(reader_id, id_, at_ms // 1000, 0, undone=False) for id_ in article_ids]
        self.signals.fold(clicks, at_ms / 1000)

    def choose(self, asked: Question, trace: Trace | None = None) -> Chosen:
        """A batch."""
        return self.chooser.choose(asked, trace)
