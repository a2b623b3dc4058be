"""The table of keys for programs and staff.

A revoked or expired key keeps its row: its name and its reader id stand under what it did.

    conn.execute(select(api_key).where(api_key.c.prefix == prefix))
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint

from tidings.store.metadata import MYSQL, Id, Moment, key_text, metadata

api_key = Table(
    "api_key",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", key_text(64), nullable=False),
    Column("role", String(16), nullable=False, comment="reader, author, editor or operator"),
    Column("prefix", key_text(32), nullable=False, comment="what finds the row; not secret"),
    Column("hash", String(64), nullable=False, comment="SHA-256 of the whole key, in hex"),
    Column("quota", Integer, comment="requests in a window; NULL: what the settings say"),
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment, comment="give or take a minute"),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    UniqueConstraint("name", name="uq_api_key_name"),
    UniqueConstraint("prefix", name="uq_api_key_prefix"),
    **MYSQL,
)
