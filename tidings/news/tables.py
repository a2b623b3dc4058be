"""Tables of what is read: articles and their counters, the channels they stand in, the authors they
are by."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table

from tidings.news.counted import COUNTED
from tidings.store.metadata import MYSQL, Id, LongText, Moment, key_text, metadata

channel = Table(
    "channel",
    metadata,
    Column("id", Id, primary_key=True),
    Column("slug", key_text(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    **MYSQL,
)

author = Table(
    "author",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", key_text(128), nullable=False, unique=True),
    **MYSQL,
)

article = Table(
    "article",
    metadata,
    Column("id", Id, primary_key=True),
    # What identifies the article where it came from: a feed's entry id, a URL, a key of the import
    # file.
    Column("source_id", key_text(191), nullable=False, unique=True),
    Column("channel_id", Id, ForeignKey("channel.id"), nullable=False),
    Column("author_id", Id, ForeignKey("author.id")),
    Column("title", String(512), nullable=False),
    Column("summary", String(2048), nullable=False),
    Column("body", LongText, nullable=False, comment="sanitised HTML"),
    Column("cover", String(1024)),
    Column("url", String(1024)),
    Column("status", String(16), nullable=False, comment="published or taken_down"),
    Column("published_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "channel_id", "status", "published_at", "id"),
    Index(None, "status", "published_at", "id"),
    Index(None, "updated_at", "id"),
    **MYSQL,
)

# Apart from `article`, so that counting never locks or rewrites the row that every reader reads.
article_count = Table(
    "article_count",
    metadata,
    Column(
        "article_id",
        Id,
        ForeignKey("article.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    *(Column(name, Integer, nullable=False, server_default="0") for name in COUNTED),
    **MYSQL,
)
