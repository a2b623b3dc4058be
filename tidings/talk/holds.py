"""Rows that a node holds until a moment, and that are free again after it.

The moments are the database's, so nodes need not agree on the time; but its own clock may be set
back, and a row that was held by the earlier one would wait for as long as the clock went back. No
row is held longer than its kind allows, so one that claims to be is free as well. Rejected: to
count on a clock that never goes back; the databases' own clock is the machine's.

    if has_free(engine, talk_outbox.c.due_at, longest=HELD):
        select(talk_outbox.c.id).where(is_free(talk_outbox.c.due_at, now, longest=HELD))
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, or_, select

from tidings.store.engine import database_now


def has_free(engine: Engine, until: ColumnElement[Any], *, longest: timedelta) -> bool:
    """Whether some row is held by no node, by an indexed read that takes no lock: most of the time
    none is."""
    with engine.connect() as conn:
        now = conn.execute(select(database_now(conn))).scalar_one()
        free = select(until).where(is_free(until, now, longest=longest))
        return conn.scalar(free.limit(1)) is not None


def is_free(until: ColumnElement[Any], now: datetime, *, longest: timedelta) -> ColumnElement[bool]:
    """Whether no node holds a row.

    Args:
        now: by the database's clock.
        longest: for which a row of this kind is held.
    """
    return or_(until <= now, until > now + longest)
