"""What the door keeps: keys of programs and staff, callbacks of payment providers, caps on orders.

Only additions with defaults: programs of schema 5 keep working beside newer ones.

Revision ID: 0006
Revises: 0005
"""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
min_reader = 4


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
