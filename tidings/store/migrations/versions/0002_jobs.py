"""Delayed jobs, the runs of static jobs, and daemons.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, Id, Moment, Name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delayed_job",
        sa.Column("id", Id, primary_key=True),
        sa.Column("kind", Name, nullable=False),
        sa.Column("ref", Name, nullable=False, comment="what it is about, such as an order's id"),
        sa.Column("run_at", Moment, nullable=False),
        sa.Column(
            "state",
            sa.String(8),
            nullable=False,
            server_default="waiting",
            comment="waiting, paused or dead",
        ),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Index("uq_delayed_job_kind_ref", "kind", "ref", unique=True),
        sa.Index("ix_delayed_job_state_kind_run_at", "state", "kind", "run_at"),
        **MYSQL,
    )
    op.create_table(
        "paused_kind",
        sa.Column("kind", Name, primary_key=True),
        sa.Column("paused_at", Moment, nullable=False),
        **MYSQL,
    )
    op.create_table(
        "job_run",
        sa.Column("job", Name, primary_key=True),
        sa.Column("slot", Moment, primary_key=True, comment="the moment it was due"),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("state", sa.String(8), nullable=False, comment="running, done or failed"),
        sa.Column("attempt", sa.SmallInteger, nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("done_at", Moment),
        sa.Column("summary", sa.String(512)),
        sa.Column("error", sa.Text),
        **MYSQL,
    )
    op.create_table(
        "daemon",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("beat_at", Moment, nullable=False),
        **MYSQL,
    )


def downgrade() -> None:
    for table in ("daemon", "job_run", "paused_kind", "delayed_job"):
        op.drop_table(table)
