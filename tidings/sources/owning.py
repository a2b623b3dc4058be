"""The source of what an API key creates, so that one author's articles are not another's.

ensure_key_source(conn, 7, name="ottoline")
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from tidings.sources.tables import source
from tidings.store.engine import database_now

EDITOR_ORIGIN = 2
DAY_S = 86_400


def find_key_source(conn: Connection, key_id: int) -> int | None:
    """The source of a key; None where it has created nothing yet."""
    return conn.scalar(select(source.c.id).where(source.c.name == f"key:{key_id}"))


def ensure_key_source(conn: Connection, key_id: int, *, name: str) -> int:
    """The same, which is made if there is none.

    Raises:
        IntegrityError: another transaction made it meanwhile; run this one again.
    """
    known = find_key_source(conn, key_id)
    if known is not None:
        return known
    stored = conn.execute(
        insert(source).values(
            kind="key",
            name=f"key:{key_id}",
            added_by=name,
            state="active",
            every_s=DAY_S,
            created_at=database_now(conn),
        )
    )
    assert stored.inserted_primary_key is not None
    return int(stored.inserted_primary_key[0])


def move_sources(conn: Connection, channel_id: int, *, into: int) -> None:
    """Have what delivers into a channel deliver into another."""
    conn.execute(update(source).where(source.c.channel_id == channel_id).values(channel_id=into))


def find_delivering(conn: Connection, channel_id: int) -> int | None:
    """A source that delivers into this channel; None where none does."""
    return conn.scalar(select(source.c.id).where(source.c.channel_id == channel_id).limit(1))
