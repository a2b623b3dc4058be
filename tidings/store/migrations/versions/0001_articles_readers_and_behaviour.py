"""Articles, readers and behaviour.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, EventId, Id, LongText, Moment, key_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel",
        sa.Column("id", Id, primary_key=True),
        sa.Column("slug", key_text(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.UniqueConstraint("slug", name="uq_channel_slug"),
        **MYSQL,
    )
    op.create_table(
        "author",
        sa.Column("id", Id, primary_key=True),
        sa.Column("name", key_text(128), nullable=False),
        sa.UniqueConstraint("name", name="uq_author_name"),
        **MYSQL,
    )
    op.create_table(
        "article",
        sa.Column("id", Id, primary_key=True),
        sa.Column("source_id", key_text(191), nullable=False),
        sa.Column(
            "channel_id",
            Id,
            sa.ForeignKey("channel.id", name="fk_article_channel_id"),
            nullable=False,
        ),
        sa.Column("author_id", Id, sa.ForeignKey("author.id", name="fk_article_author_id")),
        sa.Column("title", sa.String(512), nullable=False),
        sa.Column("summary", sa.String(2048), nullable=False),
        sa.Column("body", LongText, nullable=False, comment="sanitised HTML"),
        sa.Column("cover", sa.String(1024)),
        sa.Column("url", sa.String(1024)),
        sa.Column("status", sa.String(16), nullable=False, comment="published or taken_down"),
        sa.Column("published_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("source_id", name="uq_article_source_id"),
        sa.Index(
            "ix_article_channel_id_status_published_at_id",
            "channel_id",
            "status",
            "published_at",
            "id",
        ),
        sa.Index("ix_article_status_published_at_id", "status", "published_at", "id"),
        sa.Index("ix_article_updated_at_id", "updated_at", "id"),
        **MYSQL,
    )
    op.create_table(
        "article_count",
        sa.Column(
            "article_id",
            Id,
            sa.ForeignKey("article.id", name="fk_article_count_article_id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default="0")
            for name in ("exposure", "click", "reading", "collect", "liking")
        ),
        **MYSQL,
    )
    op.create_table(
        "reader",
        sa.Column("id", Id, primary_key=True, autoincrement=False),
        sa.Column("first_seen_at", Moment, nullable=False),
        sa.Column("last_seen_at", Moment, nullable=False),
        **MYSQL,
    )
    op.create_table(
        "behaviour",
        sa.Column("id", Id, primary_key=True),
        sa.Column("event_id", EventId, nullable=False),
        sa.Column("reader_id", Id, nullable=False),
        sa.Column("article_id", Id, nullable=False),
        sa.Column("channel_id", Id, nullable=False, comment="where it was shown; 0 is for you"),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False, comment="0 is the top of the batch"),
        sa.Column("batch_stamp", sa.BigInteger, nullable=False, comment="ms since the epoch"),
        sa.Column("read_ms", sa.Integer),
        sa.Column("at", Moment, nullable=False),
        sa.UniqueConstraint("event_id", name="uq_behaviour_event_id"),
        sa.Index("ix_behaviour_reader_id_at", "reader_id", "at"),
        sa.Index("ix_behaviour_at", "at"),
        **MYSQL,
    )


def downgrade() -> None:
    for table in ("behaviour", "reader", "article_count", "article", "author", "channel"):
        op.drop_table(table)
