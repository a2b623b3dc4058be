"""The row of an audience, under which its notices are numbered and its turns are taken.

Rows are locked in the order of their audiences, many by one statement, so that two transactions
that notify the same readers wait for each other and neither is rolled back. What is counted and
then added to, as the conversations that a reader starts, is counted under the same row. Rejected:
MAX(seq) + 1, which gives one number to two transactions.

    lasts, now = take_numbers(conn, {7: 1, 9: 2})
    now = take_turn(conn, 7)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import mysql, sqlite

from tidings.store.engine import database_now
from tidings.talk.tables import inbox


def take_turn(conn: Connection, reader_id: int) -> datetime:
    """Hold a reader's row for the rest of the transaction; the database's clock after the wait."""
    return take_numbers(conn, {reader_id: 0})[1]


def take_numbers(conn: Connection, wanted: Mapping[int, int]) -> tuple[Mapping[int, int], datetime]:
    """Hold the rows of audiences, in their order, and take so many numbers of each.

    Args:
        wanted: audience → how many.

    Returns:
        audience → the last of its numbers, and the database's clock after the wait.
    """
    rows: list[dict[str, Any]] = [
        {"audience": audience, "last_seq": n} for audience, n in sorted(wanted.items())
    ]
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(inbox)
        grown = {"last_seq": inbox.c.last_seq + lite.excluded.last_seq}
        conn.execute(lite.on_conflict_do_update(index_elements=["audience"], set_=grown), rows)
    else:
        my = mysql.insert(inbox)
        grown = {"last_seq": inbox.c.last_seq + my.inserted.last_seq}
        conn.execute(my.on_duplicate_key_update(grown), rows)
    found = conn.execute(
        select(inbox.c.audience, inbox.c.last_seq, database_now(conn).label("now")).where(
            inbox.c.audience.in_(wanted)
        )
    ).all()
    return {row.audience: row.last_seq for row in found}, found[0].now
