"""Products, orders, payments and the stock ledger.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, Id, Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sku",
        sa.Column("id", Id, primary_key=True),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("price_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False, comment="free to be ordered"),
        sa.Column(
            "state",
            sa.String(16),
            nullable=False,
            server_default="on_sale",
            comment="on_sale or withdrawn",
        ),
        sa.CheckConstraint("quantity >= 0", name="ck_sku_quantity"),
        **MYSQL,
    )
    op.create_table(
        "orders",
        sa.Column("id", Id, primary_key=True),
        sa.Column("reader_id", Id, nullable=False),
        sa.Column(
            "idempotency_key", sa.String(64), nullable=False, comment="SHA-256 of it, in hex"
        ),
        sa.Column(
            "request_hash",
            sa.String(64),
            nullable=False,
            comment="SHA-256 of what was ordered, in hex",
        ),
        sa.Column("status", sa.String(16), nullable=False, comment="unpaid, paid or cancelled"),
        sa.Column("cancelled_for", sa.String(16), comment="expired or by_reader"),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, comment="when it was paid or cancelled"),
        sa.Index(
            "uq_orders_reader_id_idempotency_key", "reader_id", "idempotency_key", unique=True
        ),
        sa.Index("ix_orders_status_expires_at", "status", "expires_at"),
        **MYSQL,
    )
    op.create_table(
        "order_line",
        sa.Column(
            "order_id",
            Id,
            sa.ForeignKey("orders.id", name="fk_order_line_order_id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("sku_id", Id, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column(
            "price_cents", sa.Integer, nullable=False, comment="of one piece, when it was ordered"
        ),
        **MYSQL,
    )
    op.create_table(
        "stock_move",
        sa.Column(
            "order_id",
            Id,
            primary_key=True,
            autoincrement=False,
            comment="for a delivery, its number negated",
        ),
        sa.Column("sku_id", Id, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True, comment="receive, hold or release"),
        sa.Column("n", sa.Integer, nullable=False, comment="added to the quantity"),
        sa.Column("at", Moment, nullable=False),
        sa.Index("ix_stock_move_sku_id", "sku_id"),
        **MYSQL,
    )
    op.create_table(
        "payment",
        sa.Column("id", Id, primary_key=True),
        sa.Column(
            "order_id", Id, sa.ForeignKey("orders.id", name="fk_payment_order_id"), nullable=False
        ),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("provider_ref", sa.String(128)),
        sa.Column("state", sa.String(16), nullable=False, comment="started, succeeded or failed"),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("settled_at", Moment),
        sa.Index("ix_payment_order_id", "order_id"),
        **MYSQL,
    )
    op.create_table(
        "refund",
        sa.Column(
            "payment_id",
            Id,
            sa.ForeignKey("payment.id", name="fk_refund_payment_id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("order_id", Id, nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column(
            "reason",
            sa.String(32),
            nullable=False,
            comment="what the order was when the money came",
        ),
        sa.Column("state", sa.String(16), nullable=False, comment="owed or sent"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Index("ix_refund_state_created_at", "state", "created_at"),
        **MYSQL,
    )


def downgrade() -> None:
    for table in ("refund", "payment", "stock_move", "order_line", "orders", "sku"):
        op.drop_table(table)
