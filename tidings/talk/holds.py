"""Rows that a node holds until a moment, and that are free again after it.

The moments are the database's, so nodes need not agree on the time; but its own clock may be set
back, and a row that was held by the earlier one would wait for as long as the clock went back. No
row is held longer than its kind allows, so one that claims to be is free as well. Rejected: to
count on a clock that never goes back; the databases' own clock is the machine's.

    now = conn.execute(select(database_now(conn))).scalar_one()
    select(talk_outbox.c.id).where(is_free(talk_outbox.c.due_at, now, longest=HELD))
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_


def is_free(until: ColumnElement[Any], now: datetime, *, longest: timedelta) -> ColumnElement[bool]:
    """Whether no node holds a row.

    Args:
        now: by the database's clock.
        longest: for which a row of this kind is held.
    """
    return or_(until <= now, until > now + longest)
