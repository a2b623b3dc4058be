"""The table of what people and programs changed. Rows are added, pruned by age, never changed."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table

from tidings.store.metadata import MYSQL, Id, LongText, Moment, metadata

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(128), nullable=False, comment="key:NAME, shell:USER or job:NAME"),
    Column("reader_id", Id, comment="as whom a key reads and writes"),
    Column("verb", String(32), nullable=False),
    Column("noun", String(16), nullable=False, comment="article, channel, source, image or demo"),
    Column("noun_id", Id),
    Column("before", LongText, comment="JSON of what was changed, as it was"),
    Column("after", LongText, comment="JSON of what was changed, as it is since"),
    Column("request_id", String(64)),
    Index(None, "noun", "noun_id", "id"),
    Index(None, "at"),
    **MYSQL,
)
