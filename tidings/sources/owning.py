"""Which source is whose: that of what an API key creates, and one that delivers into a channel.

A key has a source from its first article on. Rejected: one for each key that is made; most of them
read and never write.

    with engine.connect() as conn:
        find_key_source(conn, 7)  # None: the key has created nothing yet
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from tidings.sources.records import KEY
from tidings.sources.tables import source


def find_key_source(conn: Connection, key_id: int) -> int | None:
    """The source of what a key creates; None where that is nothing yet."""
    return conn.scalar(select(source.c.id).where(source.c.name == f"{KEY}:{key_id}"))


def find_delivering(conn: Connection, channel_id: int) -> int | None:
    """A source that delivers into this channel; None where none does."""
    return conn.scalar(select(source.c.id).where(source.c.channel_id == channel_id).limit(1))
