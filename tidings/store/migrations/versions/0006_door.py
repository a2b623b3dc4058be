"""What the door keeps: keys of programs and staff, callbacks of payment providers, caps on orders.

Only additions with defaults: programs of schema 5 keep working beside newer ones.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, Id, Moment, key_text
from tidings.store.migrations.steps import add_column, create_index, create_table

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
min_reader = 4


TURNS = 1024
REFUND_STATE = {True: "owed, sent or dead", False: "owed or sent"}
# Of several that wait for one order, the first; a payment that starts takes up what waits.
OPEN_PAYMENTS = (
    "UPDATE payment SET open_for = order_id WHERE id IN (SELECT id FROM "
    "(SELECT MIN(id) AS id FROM payment WHERE state = 'started' GROUP BY order_id) AS first)"
)


def upgrade() -> None:
    _add_keys()
    _add_caps()
    _add_callbacks()
    add_column(
        "payment", sa.Column("open_for", Id, comment="the order, while this payment waits for it")
    )
    op.execute(OPEN_PAYMENTS)
    create_index("uq_payment_open_for", "payment", ["open_for"], unique=True)
    add_column("refund", sa.Column("error", sa.String(255), comment="why it was given up"))
    _comment_refund_state(is_new=True)
    for table in ("behaviour", "exposure"):
        add_column(
            table,
            sa.Column(
                "unreturned",
                sa.SmallInteger,
                nullable=False,
                server_default="0",
                comment="1: of a reader whose id had not come back; it is in no ranking",
            ),
        )


def _add_keys() -> None:
    create_table(
        "api_key",
        sa.Column("id", Id, primary_key=True),
        sa.Column("name", key_text(64), nullable=False),
        sa.Column(
            "role", sa.String(16), nullable=False, comment="reader, author, editor or operator"
        ),
        sa.Column("prefix", key_text(32), nullable=False, comment="what finds the row; not secret"),
        sa.Column(
            "hash", sa.String(64), nullable=False, comment="SHA-256 of the whole key, in hex"
        ),
        sa.Column("quota", sa.Integer, comment="requests in a window; NULL: what the settings say"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("last_used_at", Moment, comment="give or take a minute"),
        sa.Column("expires_at", Moment),
        sa.Column("revoked_at", Moment),
        sa.UniqueConstraint("name", name="uq_api_key_name"),
        sa.UniqueConstraint("prefix", name="uq_api_key_prefix"),
        **MYSQL,
    )


def _add_caps() -> None:
    add_column(
        "orders",
        sa.Column("address", key_text(45), comment="network that ordered, while it is unpaid"),
    )
    create_index("ix_orders_address", "orders", ["address"])
    create_index("ix_orders_reader_id_status", "orders", ["reader_id", "status"])
    turn = sa.Column("id", Id, primary_key=True, autoincrement=False)
    create_table("order_turn", turn, **MYSQL)
    table = sa.table("order_turn", sa.column("id", Id))
    made = set(op.get_bind().scalars(sa.select(table.c.id)))
    op.bulk_insert(table, [{"id": n} for n in range(TURNS) if n not in made])


def _add_callbacks() -> None:
    create_table(
        "payment_callback",
        sa.Column("id", Id, primary_key=True),
        sa.Column("provider", key_text(32), nullable=False),
        sa.Column("event_id", key_text(128), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("payment_id", Id, comment="as it was told; there may be no such payment"),
        sa.Column("provider_ref", sa.String(128)),
        sa.Column("amount_cents", sa.BigInteger),
        sa.Column("currency", sa.String(8)),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("flaw", sa.String(255), comment="what is wrong with it"),
        sa.Column(
            "is_open", sa.SmallInteger, nullable=False, comment="1: a person has to look at it"
        ),
        sa.Column("at", Moment, nullable=False),
        **MYSQL,
    )
    name = "uq_payment_callback_provider_event_id"
    create_index(name, "payment_callback", ["provider", "event_id"], unique=True)
    create_index("ix_payment_callback_is_open_at", "payment_callback", ["is_open", "at"])


def _comment_refund_state(*, is_new: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":  # which keeps no comments
        op.alter_column(
            "refund",
            "state",
            existing_type=sa.String(16),
            existing_nullable=False,
            comment=REFUND_STATE[is_new],
            existing_comment=REFUND_STATE[not is_new],
        )


def downgrade() -> None:
    for table in ("exposure", "behaviour"):
        op.drop_column(table, "unreturned")
    # Programs of schema 5 send what is owed, and know no other state in which money is.
    op.execute("UPDATE refund SET state = 'owed' WHERE state = 'dead'")
    _comment_refund_state(is_new=False)
    op.drop_column("refund", "error")
    op.drop_index("uq_payment_open_for", "payment")
    op.drop_column("payment", "open_for")
    op.drop_table("payment_callback")
    op.drop_table("order_turn")
    op.drop_index("ix_orders_reader_id_status", "orders")
    op.drop_index("ix_orders_address", "orders")
    op.drop_column("orders", "address")
    op.drop_table("api_key")
