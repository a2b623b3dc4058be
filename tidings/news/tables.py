"""Tables of what is read: articles and their counters, the channels they stand in, the authors they
are by."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, SmallInteger, String, Table

from tidings.news.counted import COUNTED
from tidings.store.metadata import MYSQL, Id, LongText, Moment, key_text, metadata

channel = Table(
    "channel",
    metadata,
    Column("id", Id, primary_key=True),
    Column("slug", key_text(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    # Its row stays, so that a source that names it goes on into the other, and so that its number
    # is no later channel's, which readers who hid this one would not see.
    Column("merged_into", Id, comment="since it is none any more: the channel it is part of, or 0"),
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
    Column("origin_id", Id, nullable=False, server_default="1", comment="source that delivers it"),
    # What identifies the article: for a file's, the file's own key, and for all others the source's
    # number, a tab, which no file's key has in it, and what the source calls it.
    Column("source_id", key_text(191), nullable=False, unique=True),
    Column("channel_id", Id, ForeignKey("channel.id"), nullable=False),
    Column("author_id", Id, ForeignKey("author.id")),
    Column("title", String(512), nullable=False),
    Column("summary", String(2048), nullable=False),
    Column("body", LongText, nullable=False, comment="sanitised HTML"),
    Column("cover", String(1024)),  # as its source names it
    Column("image", key_text(64), comment="SHA-256 of the cover that is kept here"),
    Column("url", String(1024)),
    Column("language", String(16), comment="BCP 47"),
    Column("revised_at", Moment, comment="as its source says, of the words that are stored"),
    Column("markdown", LongText, comment="what an editor wrote, while the body is made of it"),
    Column("edited_at", Moment, comment="since then it is its editor's, whatever its source says"),
    Column("note", String(1024), comment="what the reviewer said"),
    Column(
        "status",
        String(16),
        nullable=False,
        comment="draft, in_review, scheduled, published or taken_down",
    ),
    Column("published_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "origin_id", "url", mysql_length={"url": 191}, mariadb_length={"url": 191}),
    Index(None, "image"),
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

# Deleted by an editor: what its source says of it again is passed over.
article_gone = Table(
    "article_gone",
    metadata,
    Column("source_id", key_text(191), primary_key=True),
    Column("at", Moment, nullable=False),
    **MYSQL,
)

# The highest number of the articles that are deleted, in one row, where SQLite would give it anew.
article_number = Table(
    "article_number",
    metadata,
    Column("highest", Id, primary_key=True, autoincrement=False),
    **MYSQL,
)

# Covers that have still to be fetched.
cover_due = Table(
    "cover_due",
    metadata,
    Column(
        "article_id",
        Id,
        ForeignKey("article.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("due_at", Moment, nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default="0"),
    Index(None, "due_at"),
    **MYSQL,
)

# Pictures that are kept here, as files named by their content.
image = Table(
    "image",
    metadata,
    Column("digest", key_text(64), primary_key=True, comment="SHA-256 of the file, in hex"),
    Column("type", String(32), nullable=False, comment="image/webp"),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size", Integer, nullable=False, comment="bytes"),
    Column("added_by", String(128), nullable=False),
    Column("added_at", Moment, nullable=False),
    Index(None, "added_at"),
    **MYSQL,
)
