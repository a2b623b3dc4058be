"""Exposures by batch, what readers marked, and counts by minute, hour and day.

Only additions with defaults: programs of the schema before store exposures as they did, one row an
article, with layout 0, and a job brings those into the new form.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, EventId, Id, Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
min_reader = 4

ADDED = {
    "source": "number of what brought the article into the batch; 0 is unknown",
    "variant": "number of the way in which the batch was ranked",
    "context": "device and referrer in one byte; 0 is unknown",
    "undone": "1: taken back, or a repeat of what is marked already; it does not count",
    "layout": "0: stored by a program of schema 4, and not brought into the new form yet",
}


def upgrade() -> None:
    op.add_column(
        "article_count", sa.Column("dislike", sa.Integer, nullable=False, server_default="0")
    )
    for name, comment in ADDED.items():
        op.add_column(
            "behaviour",
            sa.Column(name, sa.SmallInteger, nullable=False, server_default="0", comment=comment),
        )
    op.create_index("ix_behaviour_layout", "behaviour", ["layout"])
    op.create_table(
        "exposure",
        sa.Column("id", Id, primary_key=True),
        sa.Column("event_id", EventId, nullable=False),
        sa.Column("reader_id", Id, nullable=False),
        sa.Column("channel_id", Id, nullable=False, comment="where it was shown; 0 is for you"),
        sa.Column("batch_stamp", sa.BigInteger, nullable=False, comment="ms since the epoch"),
        sa.Column("at", Moment, nullable=False),
        sa.Column("variant", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("context", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column(
            "article_ids",
            sa.LargeBinary,
            nullable=False,
            comment="8 bytes each, little-endian, in the order shown",
        ),
        sa.Column("sources", sa.LargeBinary, nullable=False, comment="a byte an article"),
        sa.UniqueConstraint("event_id", name="uq_exposure_event_id"),
        sa.Index(
            "ix_exposure_reader_id_channel_id_batch_stamp",
            "reader_id",
            "channel_id",
            "batch_stamp",
        ),
        sa.Index("ix_exposure_at", "at"),
        **MYSQL,
    )
    op.create_table(
        "mark",
        sa.Column("reader_id", Id, primary_key=True, autoincrement=False),
        sa.Column(
            "kind",
            sa.SmallInteger,
            primary_key=True,
            autoincrement=False,
            comment="number of the act",
        ),
        sa.Column(
            "target",
            sa.SmallInteger,
            primary_key=True,
            autoincrement=False,
            comment="0 article, 1 author, 2 channel",
        ),
        sa.Column("target_id", Id, primary_key=True, autoincrement=False),
        sa.Column("is_set", sa.SmallInteger, nullable=False),
        sa.Column("since", Moment, nullable=False),
        sa.Column(
            "changed",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="place in the behaviour log of what changed it last",
        ),
        sa.Column("event_id", EventId, comment="of the behaviour that counts for it"),
        sa.Index(
            "ix_mark_reader_id_kind_is_set_since_target_id",
            "reader_id",
            "kind",
            "is_set",
            "since",
            "target_id",
        ),
        **MYSQL,
    )
    op.create_table(
        "act_tally",
        sa.Column(
            "span",
            sa.SmallInteger,
            primary_key=True,
            autoincrement=False,
            comment="minutes that the row is about: 1 or 60",
        ),
        sa.Column(
            "start",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="minutes since the epoch",
        ),
        sa.Column("article_id", Id, primary_key=True, autoincrement=False),
        sa.Column(
            "action",
            sa.SmallInteger,
            primary_key=True,
            autoincrement=False,
            comment="number of the act",
        ),
        sa.Column("acts", sa.Integer, nullable=False, server_default="0"),
        **MYSQL,
    )
    op.create_table(
        "shown_tally",
        sa.Column(
            "day", sa.Integer, primary_key=True, autoincrement=False, comment="days since the epoch"
        ),
        sa.Column("channel_id", Id, primary_key=True, autoincrement=False),
        sa.Column("source", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("variant", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column(
            "action",
            sa.SmallInteger,
            primary_key=True,
            autoincrement=False,
            comment="number of the act",
        ),
        sa.Column("acts", sa.Integer, nullable=False, server_default="0"),
        **MYSQL,
    )


def downgrade() -> None:
    for table in ("shown_tally", "act_tally", "mark", "exposure"):
        op.drop_table(table)
    op.drop_index("ix_behaviour_layout", "behaviour")
    for name in ADDED:
        op.drop_column("behaviour", name)
    op.drop_column("article_count", "dislike")
