"""Tables of delayed jobs: what is to run later, and which kinds are held back.

A delayed job is a row beside the rows it will change, in the same database, so that both are
committed or neither is. Rejected: a queue in Redis or a broker; it would have to be kept in step
with the database by hand. Only `tidings/store` reads them.

    conn.execute(select(delayed_job).where(delayed_job.c.state == "dead"))
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, SmallInteger, String, Table, Text

from tidings.store.metadata import MYSQL, Id, Moment, Name, metadata

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
