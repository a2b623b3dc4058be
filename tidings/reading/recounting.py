"""Corrects counters of articles by the behaviours they stand for, and forgets old behaviours.

A counter is added to with each behaviour, so that no page ever counts; a restored backup or a row
changed by hand lets the two disagree. The counting looks without locks first and locks only what
seems wrong, a few hundred articles at a time, so that no reader waits for it. Exposures are packed
by batch, so those that lie long enough back are counted once, before anything is locked, and under
the lock only the newest are. Rejected: counting under one lock, which is right at once and holds up
every fold for as long as it takes.

    corrected = recount(engine, published_since=a_month_ago, is_stopping=lambda: False)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, case, delete, func, select

from tidings.news.counts import lock_counts, read_counts, set_counts
from tidings.reading.acts import Action
from tidings.reading.tables import behaviour, exposure
from tidings.reading.tallies import prune_shown
from tidings.store.engine import transaction

CHUNK = 500
PIECE = 20_000
# A fold takes its numbers before it commits: rows so close to the newest may yet appear among those
# that were read.
UNSETTLED = 20_000
COUNTED = tuple(action.label for action in Action)
NOTHING: Mapping[str, int] = dict.fromkeys(COUNTED, 0)
EXPOSURE = Action.EXPOSURE.label


@dataclass(frozen=True, slots=True)
class _Settled:
    """How often each article was shown in the batches up to a row."""

    last_id: int
    shown: Mapping[int, int]


def recount(engine: Engine, published_since: datetime, is_stopping: Callable[[], bool]) -> int:
    """Count the behaviours of recent articles anew; returns how many had a counter that was wrong.

    Args:
        published_since: all behaviours of articles from then on are kept still.
        is_stopping: asked between the chunks; what was corrected until then stays.
    """
    with engine.connect() as conn:
        # Without locks, so an article that is being read just now may look wrong; those are looked
        # at again.
        kept = read_counts(conn, published_since)
        newest = conn.scalar(select(func.max(exposure.c.id))) or 0
        settled = _Settled(
            max(newest - UNSETTLED, 0), _count_shown(conn, 0, max(newest - UNSETTLED, 0))
        )
        found = _sum_behaviours(conn, settled)
    doubtful = sorted(id_ for id_, counts in kept.items() if counts != found.get(id_, NOTHING))
    corrected = 0
    for start in range(0, len(doubtful), CHUNK):
        if is_stopping():
            break
        corrected += recount_locked(engine, doubtful[start : start + CHUNK], settled)
    return corrected


def recount_locked(engine: Engine, article_ids: list[int], settled: _Settled | None = None) -> int:
    """Correct these counters in one transaction; returns how many were wrong.

    Args:
        settled: exposures that were counted before; all are counted here without it.
    """
    with transaction(engine) as conn:
        # Locked before the behaviours are counted: a fold that adds one waits for this row with it,
        # so that no increment falls between the counting and the setting.
        kept = lock_counts(conn, article_ids)
        found = _sum_behaviours(
            conn, settled or _Settled(0, {}), behaviour.c.article_id.in_(article_ids)
        )
        wrong = [id_ for id_, counts in kept.items() if counts != found.get(id_, NOTHING)]
        for article_id in wrong:
            set_counts(conn, article_id, found.get(article_id, NOTHING))
        return len(wrong)


def prune(engine: Engine, before: datetime, is_stopping: Callable[[], bool]) -> int:
    """Delete behaviours that are older than `before`, a few hundred a transaction, and the daily
    counts of days before it; returns how many behaviours. Marks stay: they are a reader's own."""
    gone = 0
    for table in (behaviour, exposure):
        while not is_stopping():
            with engine.connect() as conn:
                query = select(table.c.id).where(table.c.at < before).order_by(table.c.at)
                ids = list(conn.scalars(query.limit(CHUNK)))
            if not ids:
                break
            with transaction(engine) as conn:
                gone += conn.execute(delete(table).where(table.c.id.in_(ids))).rowcount
    with transaction(engine) as conn:
        prune_shown(conn, before)
    return gone


def _sum_behaviours(conn: Connection, settled: _Settled, *which: Any) -> dict[int, dict[str, int]]:
    sums = [
        func.sum(case((behaviour.c.action == name, 1), else_=0)).label(name) for name in COUNTED
    ]
    query = (
        select(behaviour.c.article_id, *sums)
        .where(behaviour.c.undone == 0, *which)
        .group_by(behaviour.c.article_id)
    )
    found = {
        row.article_id: {name: int(getattr(row, name)) for name in COUNTED}
        for row in conn.execute(query)
    }
    newest = _count_shown(conn, settled.last_id, None)
    for shown in (settled.shown, newest):
        for article_id, times in shown.items():
            counts = found.setdefault(article_id, dict(NOTHING))
            counts[EXPOSURE] += times
    return found


def _count_shown(conn: Connection, after_id: int, last_id: int | None) -> dict[int, int]:
    """Article → in how many batches of these rows it was shown."""
    total: dict[int, int] = {}
    mine = exposure.c
    while True:
        query = select(mine.id, mine.article_ids).where(mine.id > after_id)
        if last_id is not None:
            query = query.where(mine.id <= last_id)
        rows = conn.execute(query.order_by(mine.id).limit(PIECE)).all()
        if rows:
            packed = np.frombuffer(b"".join(bytes(row.article_ids) for row in rows), "<i8")
            ids, times = np.unique(packed, return_counts=True)
            for article_id, number in zip(ids.tolist(), times.tolist(), strict=True):
                total[article_id] = total.get(article_id, 0) + number
        if len(rows) < PIECE:
            return total
        after_id = rows[-1].id
