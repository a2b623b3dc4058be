"""Which programs can use this schema, beside the newest.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
min_reader = 3


def upgrade() -> None:
    op.create_table(
        "schema_reader",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
        sa.Column(
            "min_reader",
            sa.SmallInteger,
            nullable=False,
            comment="number of the oldest schema whose programs can use this one",
        ),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("schema_reader")
