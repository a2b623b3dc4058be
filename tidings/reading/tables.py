"""Tables of readers and of what they did."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
)

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
    Column(
        "source",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="number of what brought the article into the batch; 0 is unknown",
    ),
    Column(
        "variant",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="number of the way in which the batch was ranked",
    ),
    Column(
        "context",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="device and referrer in one byte; 0 is unknown",
    ),
    Column(
        "undone",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="1: taken back, or a repeat of what is marked already; it does not count",
    ),
    Column(
        "unreturned",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="1: of a reader whose id had not come back; it is in no ranking",
    ),
    Column(
        "layout",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="0: stored by a program of schema 4, and not brought into the new form yet",
    ),
    Index(None, "reader_id", "at"),
    Index(None, "at"),
    Index(None, "layout"),
    **MYSQL,
)

# A batch that was seen. Rejected: a row an article, which was nine tenths of all behaviours.
exposure = Table(
    "exposure",
    metadata,
    Column("id", Id, primary_key=True),
    Column("event_id", EventId, nullable=False, unique=True),
    Column("reader_id", Id, nullable=False),
    Column("channel_id", Id, nullable=False, comment="where it was shown; 0 is for you"),
    Column("batch_stamp", BigInteger, nullable=False, comment="ms since the epoch"),
    Column("at", Moment, nullable=False),
    Column("variant", SmallInteger, nullable=False, server_default="0"),
    Column("context", SmallInteger, nullable=False, server_default="0"),
    Column(
        "article_ids",
        LargeBinary,
        nullable=False,
        comment="8 bytes each, little-endian, in the order shown",
    ),
    Column("sources", LargeBinary, nullable=False, comment="a byte an article"),
    Column(
        "unreturned",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="1: of a reader whose id had not come back; it is in no ranking",
    ),
    Index(None, "reader_id", "channel_id", "batch_stamp"),
    Index(None, "at"),
    **MYSQL,
)

# What readers marked, one row for each of it. What was taken back keeps its row: an older event
# that arrives late finds there that it is overtaken.
mark = Table(
    "mark",
    metadata,
    Column("reader_id", Id, primary_key=True, autoincrement=False),
    Column(
        "kind", SmallInteger, primary_key=True, autoincrement=False, comment="number of the act"
    ),
    Column(
        "target",
        SmallInteger,
        primary_key=True,
        autoincrement=False,
        comment="0 article, 1 author, 2 channel",
    ),
    Column("target_id", Id, primary_key=True, autoincrement=False),
    Column("is_set", SmallInteger, nullable=False),
    Column("since", Moment, nullable=False),
    Column(
        "changed",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="place in the behaviour log of what changed it last",
    ),
    Column("event_id", EventId, comment="of the behaviour that counts for it"),
    Index(None, "reader_id", "kind", "is_set", "since", "target_id"),
    **MYSQL,
)

# How often what was done with an article, by minute and by hour: what rankings are made of.
act_tally = Table(
    "act_tally",
    metadata,
    Column(
        "span",
        SmallInteger,
        primary_key=True,
        autoincrement=False,
        comment="minutes that the row is about: 1 or 60",
    ),
    Column(
        "start",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="minutes since the epoch",
    ),
    Column("article_id", Id, primary_key=True, autoincrement=False),
    Column(
        "action", SmallInteger, primary_key=True, autoincrement=False, comment="number of the act"
    ),
    Column("acts", Integer, nullable=False, server_default="0"),
    **MYSQL,
)

# How often what was shown, and what was done with it, by what had chosen it.
shown_tally = Table(
    "shown_tally",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, comment="days since the epoch"),
    Column("channel_id", Id, primary_key=True, autoincrement=False),
    Column("source", SmallInteger, primary_key=True, autoincrement=False),
    Column("variant", SmallInteger, primary_key=True, autoincrement=False),
    Column(
        "action", SmallInteger, primary_key=True, autoincrement=False, comment="number of the act"
    ),
    Column("acts", Integer, nullable=False, server_default="0"),
    **MYSQL,
)
