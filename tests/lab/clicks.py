"""A made-up log of clicks with something to learn in it: readers stay with a topic, and the newest
articles of it are read one after another.

    log = make_log([some_clicks(sessions=500, seed=1)])
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tidings.importing.event_rows import EventBlock
from tidings.reading.acts import Action

START_MS = 1_790_000_000_000
DAY_MS = 24 * 3600 * 1000
TOPICS = 5


def some_clicks(sessions: int, seed: int, *, days: int = 2) -> EventBlock:
    """Sessions of two to four clicks half a minute apart, each within a topic of the hour."""
    random = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        begin = START_MS + int(random.integers(days * DAY_MS))
        reader, topic = int(random.integers(sessions // 4 + 1)), int(random.integers(TOPICS))
        hour = (begin - START_MS) // (6 * 3600 * 1000)
        ranks = dict.fromkeys(np.minimum(random.exponential(1.4, 20).astype(int), 19).tolist())
        for place, rank in enumerate(list(ranks)[: int(random.integers(2, 5))]):
            article = topic * 1000 + hour * 5 + rank + 1
            rows.append((begin + place * 30_000, reader, article, session))
    at_ms, readers, articles, named = (
        np.array(column, np.int64) for column in zip(*sorted(rows), strict=True)
    )
    return block_of(at_ms, readers, articles, named)


def block_of(
    at_ms: ArrayLike,
    readers: ArrayLike,
    articles: ArrayLike,
    sessions: ArrayLike,
    action: Action = Action.CLICK,
) -> EventBlock:
    """Acts in columns."""
    number = len(np.asarray(at_ms))
    return EventBlock(
        lines=np.arange(1, number + 1),
        at_ms=np.asarray(at_ms, np.int64),
        readers=np.asarray(readers, np.int64),
        articles=np.asarray(articles, np.int64),
        actions=np.full(number, action, np.uint8),
        sessions=np.asarray(sessions, np.int64),
        devices=np.full(number, 1, np.uint8),
        referrers=np.full(number, 2, np.uint8),
        rejects=(),
        last_line=number,
    )
