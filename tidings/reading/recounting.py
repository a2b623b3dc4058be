"""Corrects counters of articles by the behaviours they stand for, and forgets old behaviours.

A counter is added to with each behaviour, so that no page ever counts; a restored backup or a row
changed by hand lets the two disagree. The counting looks without locks first and locks only what
seems wrong, a few hundred articles at a time, so that no reader waits for it. Rejected: counting
under one lock, which is right at once and holds up every fold for as long as it takes.

    corrected = recount(engine, published_since=a_month_ago, is_stopping=lambda: False)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, case, delete, func, select

from tidings.news.counts import lock_counts, read_counts, set_counts
from tidings.reading.acts import Action
from tidings.reading.tables import behaviour
from tidings.store.engine import transaction

CHUNK = 500
COUNTED = tuple(action.label for action in Action)
NOTHING: Mapping[str, int] = dict.fromkeys(COUNTED, 0)


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
        found = _sum_behaviours(conn)
    doubtful = sorted(id_ for id_, counts in kept.items() if counts != found.get(id_, NOTHING))
    corrected = 0
    for start in range(0, len(doubtful), CHUNK):
        if is_stopping():
            break
        corrected += recount_locked(engine, doubtful[start : start + CHUNK])
    return corrected


def recount_locked(engine: Engine, article_ids: list[int]) -> int:
    """Correct these counters in one transaction; returns how many were wrong."""
    with transaction(engine) as conn:
        # Locked before the behaviours are counted: a fold that adds one waits for this row with it,
        # so that no increment falls between the counting and the setting.
        kept = lock_counts(conn, article_ids)
        found = _sum_behaviours(conn, behaviour.c.article_id.in_(article_ids))
        wrong = [id_ for id_, counts in kept.items() if counts != found.get(id_, NOTHING)]
        for article_id in wrong:
            set_counts(conn, article_id, found.get(article_id, NOTHING))
        return len(wrong)


def prune(engine: Engine, before: datetime, is_stopping: Callable[[], bool]) -> int:
    """Delete behaviours that are older than `before`, a few hundred a transaction; returns how
    many."""
    gone = 0
    while not is_stopping():
        with engine.connect() as conn:
            query = select(behaviour.c.id).where(behaviour.c.at < before).order_by(behaviour.c.at)
            ids = list(conn.scalars(query.limit(CHUNK)))
        if not ids:
            break
        with transaction(engine) as conn:
            gone += conn.execute(delete(behaviour).where(behaviour.c.id.in_(ids))).rowcount
    return gone


def _sum_behaviours(conn: Connection, *which: Any) -> dict[int, dict[str, int]]:
    sums = [
        func.sum(case((behaviour.c.action == name, 1), else_=0)).label(name) for name in COUNTED
    ]
    query = select(behaviour.c.article_id, *sums).where(*which).group_by(behaviour.c.article_id)
    return {
        row.article_id: {name: int(getattr(row, name)) for name in COUNTED}
        for row in conn.execute(query)
    }
