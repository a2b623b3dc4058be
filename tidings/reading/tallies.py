"""Counts of what readers did, small enough to be asked all the time: by minute and hour of each
article, and by day of each source, variant and channel.

They are added to in the transaction that stores a behaviour, and subtracted from when it is taken
back. Rankings read them: an hour in minutes and a day in hours are at most 84 rows an article and
act, whatever the readers did. Rejected: counting the behaviours of a day each minute, which was
more work the more was read.

    tally = Tally()
    tally.add(Action.CLICK, 12, at_ms, channel_id=10, source=1, variant=0, times=1)
    tally.write(conn)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, case, delete, func, select
from sqlalchemy.dialects import mysql, sqlite

from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.tables import act_tally, shown_tally

MINUTE_MS = 60_000
HOUR = 60
DAY_MS = 24 * HOUR * MINUTE_MS
WEIGHTS = {action: action.weight for action in Action if action.weight}
# How long rows are kept: twice as long as rankings look back.
KEPT_MIN = {1: 2 * HOUR, HOUR: 48 * HOUR}


class Tally:
    """What one transaction adds to both tables."""

    def __init__(self) -> None:
        self._acts: Counter[tuple[int, int, int, int]] = Counter()
        self._shown: Counter[tuple[int, int, int, int, int]] = Counter()

    def add(
        self,
        action: Action,
        article_id: int,
        at_ms: int,
        *,
        channel_id: int,
        source: int,
        variant: int,
        times: int,
    ) -> None:
        """Count an act, or with `times` -1 take one back."""
        self._shown[at_ms // DAY_MS, channel_id, source, variant, int(action)] += times
        if action in WEIGHTS:
            minute = at_ms // MINUTE_MS
            self._acts[1, minute, article_id, int(action)] += times
            self._acts[HOUR, minute // HOUR * HOUR, article_id, int(action)] += times

    def write(self, conn: Connection) -> None:
        """Add it to the tables, in a transaction of the caller's."""
        _add(conn, act_tally, self._acts)
        _add(conn, shown_tally, self._shown)


def read_scores(
    conn: Connection, now: datetime, windows: Mapping[timedelta, float]
) -> dict[int, float]:
    """Article → the weights of its acts, each as often as the windows that it falls into are worth.

    Args:
        windows: how far back → what an act in it is worth besides. Windows of up to an hour are
            exact to the minute, longer ones to the hour.
    """
    minute = milliseconds(now) // MINUTE_MS
    scores: defaultdict[int, float] = defaultdict(float)
    for span in (1, HOUR):
        mine = {
            _first(span, minute, int(back.total_seconds() // 60)): worth
            for back, worth in windows.items()
            if (back <= timedelta(hours=1)) == (span == 1)
        }
        if not mine:
            continue
        started = sum(
            case((act_tally.c.start >= first, worth), else_=0.0) for first, worth in mine.items()
        )
        weight = case(
            {int(action): value for action, value in WEIGHTS.items()}, value=act_tally.c.action
        )
        rows = conn.execute(
            select(act_tally.c.article_id, func.sum(act_tally.c.acts * weight * started))
            .where(act_tally.c.span == span, act_tally.c.start >= min(mine))
            .group_by(act_tally.c.article_id)
        )
        for article_id, score in rows:
            scores[article_id] += float(score)
    return {article_id: score for article_id, score in scores.items() if score > 0}


def prune_tallies(conn: Connection, now: datetime) -> int:
    """Delete rows that no ranking looks at any more; returns how many."""
    minute = milliseconds(now) // MINUTE_MS
    gone = 0
    for span, kept in KEPT_MIN.items():
        old = (act_tally.c.span == span, act_tally.c.start < minute - kept)
        gone += conn.execute(delete(act_tally).where(*old)).rowcount
    return gone


def prune_shown(conn: Connection, before: datetime) -> int:
    """Delete the daily counts of days before this one; returns how many rows."""
    day = milliseconds(before) // DAY_MS
    return conn.execute(delete(shown_tally).where(shown_tally.c.day < day)).rowcount


def _first(span: int, minute: int, back_min: int) -> int:
    return (minute - back_min) // span * span


def _add(conn: Connection, table: Table, counts: Mapping[Any, int]) -> None:
    keys = [column.name for column in table.primary_key]
    # In the order of the keys, so that two transactions lock the same rows in the same order.
    values: list[dict[str, Any]] = [
        {**dict(zip(keys, key, strict=True)), "acts": number}
        for key, number in sorted(counts.items())
        if number
    ]
    if not values:
        return
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        added = {"acts": table.c.acts + lite.excluded.acts}
        conn.execute(lite.on_conflict_do_update(index_elements=keys, set_=added), values)
    else:
        my = mysql.insert(table)
        conn.execute(my.on_duplicate_key_update(acts=table.c.acts + my.inserted.acts), values)
