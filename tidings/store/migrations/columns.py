"""The column types of the migrations, frozen: what they say today is what each server was given.

The tables of the running program use `tidings.store.metadata`, whose types may change. A migration
that imported those would give a new server another schema than the old ones have, so migrations
import nothing of the program's. A type is never edited here; a migration that needs another one
adds it.

    from tidings.store.migrations.columns import MYSQL, Id, Moment

    op.create_table("thing", sa.Column("id", Id, primary_key=True), **MYSQL)
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
EventId = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
LongBytes = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
Moment = sa.String(23).with_variant(mysql.DATETIME(fsp=3), "mysql", "mariadb")
Name = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)

MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_unicode_ci",
}


def key_text(length: int) -> sa.String:
    """Text that is compared byte by byte, at most `length` characters of it."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb"
    )
