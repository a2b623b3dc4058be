"""Tables of the daemons: what ran when, and which daemons are there.

Only `jobs/` reads them: what another process may know about a job is in the commands and metrics.

    conn.execute(select(job_run).order_by(job_run.c.started_at.desc()).limit(20))
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, SmallInteger, String, Table, Text

from tidings.store.metadata import MYSQL, Moment, Name, metadata

# The daemon that inserts (job, slot) runs it; the row stays as the history.
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
