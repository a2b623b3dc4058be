"""The row of an audience, under which its notices are numbered and its turns are taken.

Rows are locked in the order of their audiences, many by one statement, so that two transactions
that notify the same readers wait for each other and neither is rolled back. What is counted and
then added to, as the conversations that a reader starts, is counted under the same row. Rejected:
MAX(seq) + 1, which gives one number to two transactions.

    lasts, now = take_numbers(conn, {7: 1, 9: 2})
    now = take_turn(conn, 7)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, case, text

from tidings.store.by_key import select_by_key
from tidings.store.engine import database_now
from tidings.talk.tables import inbox

_GROW = {
    "sqlite": text(
        "INSERT INTO inbox (audience, last_seq) SELECT json_extract(value, '$[0]'), "
        "json_extract(value, '$[1]') FROM json_each(:wanted) WHERE true "
        "ON CONFLICT (audience) DO UPDATE SET last_seq = last_seq + excluded.last_seq"
    ),
    "mysql": text(
        "INSERT INTO inbox (audience, last_seq) SELECT w.audience, w.n FROM JSON_TABLE(:wanted, "
        "'$[*]' COLUMNS (audience BIGINT PATH '$[0]', n BIGINT PATH '$[1]')) AS w "
        "ON DUPLICATE KEY UPDATE last_seq = last_seq + VALUES(last_seq)"
    ),
}


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
    numbers = sorted(wanted.items())
    conn.execute(_GROW[conn.dialect.name], {"wanted": json.dumps(numbers)})
    # The clock once: a moment for each row is read and made for nothing.
    now = case((inbox.c.audience == numbers[0][0], database_now(conn))).label("now")
    query = select_by_key(conn, inbox, "audience", wanted, inbox.c.audience, inbox.c.last_seq, now)
    found = conn.execute(query).all()
    moments = [row.now for row in found if row.now is not None]
    return {row.audience: row.last_seq for row in found}, moments[0]
