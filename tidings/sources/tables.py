"""Tables of what delivers articles, and of what came each time it was asked."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, SmallInteger, String, Table, Text

from tidings.store.metadata import MYSQL, Id, Moment, key_text, metadata

source = Table(
    "source",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(8), nullable=False, comment="file, editor, key, feed or list"),
    Column(
        "name",
        key_text(191),
        nullable=False,
        unique=True,
        comment="a feed's address or its SHA-256, key:ID, file, editor",
    ),
    Column("address", String(2048), comment="of a feed, as it is asked now"),
    Column("title", String(128), nullable=False, server_default=""),
    Column("channel_id", Id, ForeignKey("channel.id"), comment="where its articles stand"),
    Column("added_by", String(128), nullable=False),
    Column("state", String(8), nullable=False, comment="active, paused, unlisted, gone or removed"),
    Column("every_s", Integer, nullable=False, comment="from one look to the next"),
    Column("due_at", Moment, comment="of the next look"),
    Column("etag", String(512)),
    Column("last_modified", String(128)),
    Column("failures", SmallInteger, nullable=False, server_default="0", comment="in a row"),
    Column("moved_to", String(2048), comment="where it says it is for good"),
    Column("moved_times", SmallInteger, nullable=False, server_default="0", comment="in a row"),
    Column("created_at", Moment, nullable=False),
    Index(None, "state", "due_at"),
    **MYSQL,
)

# Each time a source was asked.
source_run = Table(
    "source_run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source_id", Id, ForeignKey("source.id", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("created", Integer, nullable=False, server_default="0"),
    Column("updated", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("error", String(512), comment="why it failed"),
    Column("reasons", Text, comment="JSON: the first rows that were refused, and why"),
    Index(None, "source_id", "at"),
    Index(None, "at"),
    **MYSQL,
)
