"""Every table, as SQLAlchemy Core describes it. `migrations/` holds how a database came to look
like this.

No ORM: each query is written once, in the module of its noun, where its cost can be read. Moments
are `DATETIME(3)` in UTC and come back as aware datetimes on every database. Ids are 64-bit; SQLite
needs plain INTEGER to number rows by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime with milliseconds: DATETIME(3), or text of the same precision on
    SQLite.

    SQLite compares text, so its format is exactly that of `strftime('%Y-%m-%d %H:%M:%f')`, the
    database's own clock: column and clock can be compared there as well.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(23))
        return dialect.type_descriptor(mysql.DATETIME(fsp=3))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone; naive datetimes are refused")
        # MySQL rounds what DATETIME(3) cannot hold, so a moment could lie after itself.
        utc = value.astimezone(UTC).replace(
            tzinfo=None, microsecond=value.microsecond // 1000 * 1000
        )
        return utc.isoformat(sep=" ", timespec="milliseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC)


Id = BigInteger().with_variant(Integer, "sqlite")
EventId = LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def key_text(length: int) -> String:
    """Text that identifies: equal only to itself, where MySQL's `unicode_ci` takes `/A` for `/a`,
    "José" for "Jose"."""
    return String(length).with_variant(
        mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb"
    )


MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_unicode_ci",
}

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
    # Whatever identifies the article where it came from: a feed's entry id, a URL, a key of the
    # import file.
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
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("exposure", "click", "reading", "collect", "liking")
    ),
    **MYSQL,
)

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
