"""Tables of what is sold: products with stock, orders, payments and the ledger that explains every
quantity.

No foreign key points at `sku`: checking one takes a shared lock on the row that every order of a
popular edition wants to change next, and two orders would wait for each other. Products are never
deleted, only withdrawn.

    conn.execute(select(orders).where(orders.c.id == order_id))
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
)

from tidings.store.metadata import MYSQL, Id, Moment, key_text, metadata

sku = Table(
    "sku",
    metadata,
    Column("id", Id, primary_key=True),
    Column("title", String(255), nullable=False),
    Column("price_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("quantity", Integer, nullable=False, comment="free to be ordered"),
    Column(
        "state",
        String(16),
        nullable=False,
        server_default="on_sale",
        comment="on_sale or withdrawn",
    ),
    CheckConstraint("quantity >= 0", name="ck_sku_quantity"),
    **MYSQL,
)

orders = Table(
    "orders",
    metadata,
    Column("id", Id, primary_key=True),
    Column("reader_id", Id, nullable=False),
    Column("idempotency_key", String(64), nullable=False, comment="SHA-256 of it, in hex"),
    Column(
        "request_hash", String(64), nullable=False, comment="SHA-256 of what was ordered, in hex"
    ),
    Column("status", String(16), nullable=False, comment="unpaid, paid or cancelled"),
    Column("cancelled_for", String(16), comment="expired or by_reader"),
    Column("total_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("ended_at", Moment, comment="when it was paid or cancelled"),
    Column("address", key_text(45), comment="network that ordered, while it is unpaid"),
    Index("uq_orders_reader_id_idempotency_key", "reader_id", "idempotency_key", unique=True),
    Index("ix_orders_status_expires_at", "status", "expires_at"),
    Index("ix_orders_address", "address"),
    Index("ix_orders_reader_id_status", "reader_id", "status"),
    **MYSQL,
)

# Each reader and each address has one of these rows, by its hash, and locks it to place an order.
order_turn = Table(
    "order_turn", metadata, Column("id", Id, primary_key=True, autoincrement=False), **MYSQL
)

order_line = Table(
    "order_line",
    metadata,
    Column("order_id", Id, ForeignKey("orders.id"), primary_key=True, autoincrement=False),
    Column("sku_id", Id, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("price_cents", Integer, nullable=False, comment="of one piece, when it was ordered"),
    **MYSQL,
)

# The primary key is the rule: one order can hold, and give back, a product once, also when a
# transaction is run twice.
stock_move = Table(
    "stock_move",
    metadata,
    Column(
        "order_id",
        Id,
        primary_key=True,
        autoincrement=False,
        comment="for a delivery, its number negated",
    ),
    Column("sku_id", Id, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True, comment="receive, hold or release"),
    Column("n", Integer, nullable=False, comment="added to the quantity"),
    Column("at", Moment, nullable=False),
    Index("ix_stock_move_sku_id", "sku_id"),
    **MYSQL,
)

payment = Table(
    "payment",
    metadata,
    Column("id", Id, primary_key=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("provider_ref", String(128)),
    Column("state", String(16), nullable=False, comment="started, succeeded or failed"),
    Column("amount_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("settled_at", Moment),
    # The key is the rule: one payment of an order waits at a time.
    Column("open_for", Id, comment="the order, while this payment waits for it"),
    Index("ix_payment_order_id", "order_id"),
    Index("uq_payment_open_for", "open_for", unique=True),
    **MYSQL,
)

payment_callback = Table(
    "payment_callback",
    metadata,
    Column("id", Id, primary_key=True),
    Column("provider", key_text(32), nullable=False),
    Column("event_id", key_text(128), nullable=False),
    Column("type", String(64), nullable=False),
    Column("payment_id", Id, comment="as it was told; there may be no such payment"),
    Column("provider_ref", String(128)),
    Column("amount_cents", BigInteger),
    Column("currency", String(8)),
    Column("verdict", String(16), nullable=False),
    Column("flaw", String(255), comment="what is wrong with it"),
    Column("is_open", SmallInteger, nullable=False, comment="1: a person has to look at it"),
    Column("at", Moment, nullable=False),
    Index("uq_payment_callback_provider_event_id", "provider", "event_id", unique=True),
    Index("ix_payment_callback_is_open_at", "is_open", "at"),
    **MYSQL,
)

refund = Table(
    "refund",
    metadata,
    Column("payment_id", Id, ForeignKey("payment.id"), primary_key=True, autoincrement=False),
    Column("order_id", Id, nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reason", String(32), nullable=False, comment="what the order was when the money came"),
    Column("state", String(16), nullable=False, comment="owed, sent or dead"),
    Column("created_at", Moment, nullable=False),
    Column("error", String(255), comment="why it was given up"),
    Index("ix_refund_state_created_at", "state", "created_at"),
    **MYSQL,
)
