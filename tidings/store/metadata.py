"""What every table is made of: the one description of the schema, and its column types.

Each noun has a `tables.py` of its own that adds to `metadata`; `migrations/` holds how a database
came to look like this. No ORM: each query is written once, in the module of its noun, where its
cost can be read. Moments are `DATETIME(3)` in UTC and come back as aware datetimes on every
database. Ids are 64-bit; SQLite needs plain INTEGER to number rows by itself.

    Table("note", metadata, Column("id", Id, primary_key=True), Column("at", Moment))
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
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


class ReadableMoment(Moment):
    """A `Moment` of a row that another program may have written: None where it is no date.

    SQLite stores any text in any column. Where many rows are read at once, one that cannot be read
    must be set aside, and an exception would take the others with it.
    """

    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        try:
            return super().process_result_value(value, dialect)
        except ValueError:
            return None


Id = BigInteger().with_variant(Integer, "sqlite")
MOST_ID = 2**63 - 1
EventId = LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
LongBytes = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
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


# Compared byte by byte: to MySQL's usual collation `A` and `a` are the same name.
Name = String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
