"""Tables of readers and of what they did."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, Table

from tidings.store.metadata import MYSQL, EventId, Id, Moment, metadata

reader = Table(
    "reader",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    **MYSQL,
)

behaviour = Table(
    "behaviour",
    metadata,
    Column("id", Id, primary_key=True),
    # Derived from the token that was reported, so the same report can only be stored once.
    Column("event_id", EventId, nullable=False, unique=True),
    Column("reader_id", Id, nullable=False),
    Column("article_id", Id, nullable=False),
    Column("channel_id", Id, nullable=False, comment="where it was shown; 0 is for you"),
    Column("action", String(16), nullable=False),
    Column("position", SmallInteger, nullable=False, comment="0 is the top of the batch"),
    Column("batch_stamp", BigInteger, nullable=False, comment="ms since the epoch"),
    Column("read_ms", Integer),
    Column("at", Moment, nullable=False),
    Index(None, "reader_id", "at"),
    Index(None, "at"),
    **MYSQL,
)
