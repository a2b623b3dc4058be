"""Tables of scheduled work: what is to run later, what ran, and who runs it.

A delayed job is a row beside the rows it will change, in the same database, so that both are
committed or neither is. Rejected: a queue in Redis or a broker; it would have to be kept in step
with the database by hand.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, SmallInteger, String, Table, Text
from sqlalchemy.dialects import mysql

from tidings.store.tables import MYSQL, Id, Moment, metadata

# Compared byte by byte: to MySQL's usual collation `A` and `a` are the same name.
Name = String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)

delayed_job = Table(
    "delayed_job",
    metadata,
    Column("id", Id, primary_key=True),
    # The name of a registered handler, never an import path: code may move while rows wait.
    Column("kind", Name, nullable=False),
    Column("ref", Name, nullable=False, comment="what it is about, such as an order's id"),
    Column("run_at", Moment, nullable=False),
    Column(
        "state",
        String(8),
        nullable=False,
        server_default="waiting",
        comment="waiting, paused or dead",
    ),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("payload", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("uq_delayed_job_kind_ref", "kind", "ref", unique=True),
    Index("ix_delayed_job_state_kind_run_at", "state", "kind", "run_at"),
    **MYSQL,
)

# Kinds that are held back by hand, rows yet to come included.
paused_kind = Table(
    "paused_kind",
    metadata,
    Column("kind", Name, primary_key=True),
    Column("paused_at", Moment, nullable=False),
    **MYSQL,
)

# Whichever daemon inserts (job, slot) runs it; the row stays as the history.
job_run = Table(
    "job_run",
    metadata,
    Column("job", Name, primary_key=True),
    Column("slot", Moment, primary_key=True, comment="the moment it was due"),
    Column("owner", String(128), nullable=False),
    Column("state", String(8), nullable=False, comment="running, done or failed"),
    Column("attempt", SmallInteger, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("done_at", Moment),
    Column("summary", String(512)),
    Column("error", Text),
    **MYSQL,
)

daemon = Table(
    "daemon",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("beat_at", Moment, nullable=False),
    **MYSQL,
)
