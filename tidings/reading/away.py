"""Readers who were here and have not come back, for those who have something to tell them.

A reader is away since their last page or act. What is asked is who went within one hour, by the
index of moments, so that each absence is found once and costs nothing while it lasts. A reader
whose id never came back is left out: it cannot be told anything. Rejected: to go through all
readers; most were here once, years ago.

    find_gone(conn, since, until, limit=10_000)  # [7, 12]
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from tidings.reading.tables import exposure, reader


def find_gone(conn: Connection, since: datetime, until: datetime, *, limit: int) -> list[int]:
    """Readers who were shown their last page between these moments, by id, `limit` at most."""
    seen = (
        select(exposure.c.reader_id)
        .where(exposure.c.at >= since, exposure.c.at < until, exposure.c.unreturned == 0)
        .distinct()
        .subquery()
    )
    query = (
        select(reader.c.id)
        .join(seen, seen.c.reader_id == reader.c.id)
        .where(reader.c.last_seen_at < until)
        .order_by(reader.c.id)
        .limit(limit)
    )
    return list(conn.scalars(query))
