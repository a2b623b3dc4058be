"""Sources, what editors do, pictures that are kept here.

Only additions with defaults: programs of schema 4 and later keep working beside newer ones. What
they store belongs to the source `file`.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, Id, LongText, Moment, key_text
from tidings.store.migrations.steps import add_column, create_index, create_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
min_reader = 4

FILE, EDITOR = 1, 2
DAY_S = 86_400
STATUS = {
    True: "draft, in_review, scheduled, published or taken_down",
    False: "published or taken_down",
}


def upgrade() -> None:
    _add_sources()
    _add_to_articles()
    create_table(
        "image",
        sa.Column("digest", key_text(64), primary_key=True, comment="SHA-256 of the file, in hex"),
        sa.Column("type", sa.String(32), nullable=False, comment="image/webp"),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False, comment="bytes"),
        sa.Column("added_by", sa.String(128), nullable=False),
        sa.Column("added_at", Moment, nullable=False),
        **MYSQL,
    )
    create_index("ix_image_added_at", "image", ["added_at"])
    create_table(
        "audit",
        sa.Column("id", Id, primary_key=True),
        sa.Column("at", Moment, nullable=False),
        sa.Column(
            "actor", sa.String(128), nullable=False, comment="key:NAME, shell:USER or job:NAME"
        ),
        sa.Column("reader_id", Id, comment="as whom a key reads and writes"),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column(
            "noun",
            sa.String(16),
            nullable=False,
            comment="article, channel, source, image or demo",
        ),
        sa.Column("noun_id", Id),
        sa.Column("before", LongText, comment="JSON of what was changed, as it was"),
        sa.Column("after", LongText, comment="JSON of what was changed, as it is since"),
        sa.Column("request_id", sa.String(64)),
        **MYSQL,
    )
    create_index("ix_audit_noun_noun_id_id", "audit", ["noun", "noun_id", "id"])
    create_index("ix_audit_at", "audit", ["at"])


def _add_sources() -> None:
    create_table(
        "source",
        sa.Column("id", Id, primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False, comment="file, editor, key, feed or list"),
        sa.Column(
            "name",
            key_text(191),
            nullable=False,
            comment="a feed's address or its SHA-256, key:ID, file, editor",
        ),
        sa.Column("address", sa.String(2048), comment="of a feed, as it is asked now"),
        sa.Column("title", sa.String(128), nullable=False, server_default=""),
        sa.Column(
            "channel_id",
            Id,
            sa.ForeignKey("channel.id", name="fk_source_channel_id"),
            comment="where its articles stand",
        ),
        sa.Column("added_by", sa.String(128), nullable=False),
        sa.Column(
            "state",
            sa.String(8),
            nullable=False,
            comment="active, paused, unlisted, gone or removed",
        ),
        sa.Column("every_s", sa.Integer, nullable=False, comment="from one look to the next"),
        sa.Column("due_at", Moment, comment="of the next look"),
        sa.Column("etag", sa.String(512)),
        sa.Column("last_modified", sa.String(128)),
        sa.Column(
            "failures", sa.SmallInteger, nullable=False, server_default="0", comment="in a row"
        ),
        sa.Column("moved_to", sa.String(2048), comment="where it says it is for good"),
        sa.Column(
            "moved_times", sa.SmallInteger, nullable=False, server_default="0", comment="in a row"
        ),
        sa.Column("created_at", Moment, nullable=False),
        sa.UniqueConstraint("name", name="uq_source_name"),
        **MYSQL,
    )
    create_index("ix_source_state_due_at", "source", ["state", "due_at"])
    create_table(
        "source_run",
        sa.Column("id", Id, primary_key=True),
        sa.Column(
            "source_id",
            Id,
            sa.ForeignKey("source.id", name="fk_source_run_source_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("at", Moment, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("took_ms", sa.Integer, nullable=False),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default="0")
            for name in ("created", "updated", "unchanged", "refused")
        ),
        sa.Column("error", sa.String(512), comment="why it failed"),
        sa.Column("reasons", sa.Text, comment="JSON: the first rows that were refused, and why"),
        **MYSQL,
    )
    create_index("ix_source_run_source_id_at", "source_run", ["source_id", "at"])
    create_index("ix_source_run_at", "source_run", ["at"])
    _add_own_sources()


def _add_own_sources() -> None:
    """The two that are no feed: what is brought in as a file, and what editors write."""
    names = {FILE: "file", EDITOR: "editor"}
    columns = ("id", "kind", "name", "added_by", "state", "every_s", "created_at")
    table = sa.table("source", *map(sa.column, columns))
    known = set(op.get_bind().scalars(sa.select(table.c.id)))
    now = "%Y-%m-%d %H:%M:%f"
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    clock = sa.func.strftime(now, "now") if is_sqlite else sa.func.utc_timestamp(3)
    for id_, name in names.items():
        if id_ not in known:
            op.execute(
                table.insert().values(
                    id=id_,
                    kind=name,
                    name=name,
                    added_by="shell:tidings",
                    state="active",
                    every_s=DAY_S,
                    created_at=clock,
                )
            )


def _add_to_articles() -> None:
    for column in (
        sa.Column(
            "origin_id", Id, nullable=False, server_default="1", comment="source that delivers it"
        ),
        sa.Column("image", key_text(64), comment="SHA-256 of the cover that is kept here"),
        sa.Column("language", sa.String(16), comment="BCP 47"),
        sa.Column("revised_at", Moment, comment="as its source says, of the words that are stored"),
        sa.Column(
            "markdown", LongText, comment="what an editor wrote, while the body is made of it"
        ),
        sa.Column(
            "edited_at", Moment, comment="since then it is its editor's, whatever its source says"
        ),
        sa.Column("note", sa.String(1024), comment="what the reviewer said"),
    ):
        add_column("article", column)
    merged_into = "since it is none any more: the channel it is part of, or 0"
    add_column("channel", sa.Column("merged_into", Id, comment=merged_into))
    _comment_status(is_new=True)
    # MySQL's longest key would not hold a whole address.
    create_index(
        "ix_article_origin_id_url",
        "article",
        ["origin_id", "url"],
        mysql_length={"url": 191},
        mariadb_length={"url": 191},
    )
    create_index("ix_article_image", "article", ["image"])
    create_table(
        "article_gone",
        sa.Column("source_id", key_text(191), primary_key=True),
        sa.Column("at", Moment, nullable=False),
        **MYSQL,
    )
    create_table(
        "article_number",
        sa.Column("highest", Id, primary_key=True, autoincrement=False),
        **MYSQL,
    )
    create_table(
        "cover_due",
        sa.Column(
            "article_id",
            Id,
            sa.ForeignKey("article.id", name="fk_cover_due_article_id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False, server_default="0"),
        **MYSQL,
    )
    create_index("ix_cover_due_due_at", "cover_due", ["due_at"])
    # Those by plain HTTP are shown no more, unless they are fetched.
    op.execute(
        "INSERT INTO cover_due (article_id, due_at) SELECT id, updated_at FROM article "
        "WHERE cover LIKE 'http://%' AND id NOT IN (SELECT article_id FROM cover_due)"
    )


def _comment_status(*, is_new: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":  # which keeps no comments
        op.alter_column(
            "article",
            "status",
            existing_type=sa.String(16),
            existing_nullable=False,
            comment=STATUS[is_new],
            existing_comment=STATUS[not is_new],
        )


def downgrade() -> None:
    op.drop_table("cover_due")
    op.drop_table("article_number")
    op.drop_table("article_gone")
    op.drop_index("ix_article_image", "article")
    op.drop_index("ix_article_origin_id_url", "article")
    for name in ("note", "edited_at", "markdown", "revised_at", "language", "image", "origin_id"):
        op.drop_column("article", name)
    op.drop_column("channel", "merged_into")
    # Programs of schema 7 know no other status, and show what is published.
    op.execute("UPDATE article SET status = 'taken_down' WHERE status IN ('draft', 'in_review')")
    _comment_status(is_new=False)
    op.drop_table("audit")
    op.drop_table("image")
    op.drop_table("source_run")
    op.drop_table("source")
