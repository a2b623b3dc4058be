"""Conversations with their messages, notices, and what has still to go onto the chat's bus.

Only tables are added: programs of schema 4 and later keep working beside newer ones.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from tidings.store.migrations.columns import MYSQL, Id, LongBytes, Moment, key_text
from tidings.store.migrations.steps import create_index, create_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
min_reader = 4


def upgrade() -> None:
    _add_conversations()
    _add_messages()
    _add_notices()
    create_table(
        "talk_outbox",
        sa.Column("id", Id, primary_key=True),
        sa.Column("at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False, comment="from then on any node may send it"),
        sa.Column(
            "entries", LongBytes, nullable=False, comment="a list of bus entries, as MessagePack"
        ),
        # A node drops what comes over the bus twice by the row's number, so none may come back.
        sqlite_autoincrement=True,
        **MYSQL,
    )
    create_index("ix_talk_outbox_due_at", "talk_outbox", ["due_at"])
    create_table(
        "desk_question",
        sa.Column("conversation_id", Id, primary_key=True, autoincrement=False),
        sa.Column("seq", Id, primary_key=True, autoincrement=False),
        sa.Column("taken_until", Moment, nullable=False, comment="until then a node answers it"),
        **MYSQL,
    )
    create_index("ix_desk_question_taken_until", "desk_question", ["taken_until"])


def _add_conversations() -> None:
    create_table(
        "conversation",
        sa.Column("id", Id, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False, comment="direct, group or desk"),
        sa.Column(
            "title", sa.String(100), nullable=False, comment="of a group; empty for the others"
        ),
        sa.Column("direct_key", key_text(41), comment="lower:higher reader id, of all but groups"),
        sa.Column(
            "last_seq", Id, nullable=False, comment="of the newest message; 0 before the first"
        ),
        sa.Column("created_by", Id, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("changed_at", Moment, nullable=False, comment="when the newest message came"),
        sa.UniqueConstraint("direct_key", name="uq_conversation_direct_key"),
        **MYSQL,
    )
    name = "ix_conversation_created_by_created_at"
    create_index(name, "conversation", ["created_by", "created_at"])
    create_table(
        "conversation_member",
        _part_of_key("conversation_id"),
        _part_of_key("reader_id"),
        sa.Column("role", sa.String(16), nullable=False, comment="owner or member"),
        sa.Column("read_seq", Id, nullable=False, comment="up to here it was read"),
        sa.Column("from_seq", Id, nullable=False, comment="only messages after it are seen"),
        sa.Column("muted", sa.SmallInteger, nullable=False, comment="1: not counted in the badge"),
        sa.Column("joined_at", Moment, nullable=False),
        **MYSQL,
    )
    create_index("ix_conversation_member_reader_id", "conversation_member", ["reader_id"])
    create_table(
        "reader_block",
        _part_of_key("reader_id"),
        _part_of_key("blocked_id"),
        sa.Column("at", Moment, nullable=False),
        **MYSQL,
    )


def _add_messages() -> None:
    create_table(
        "message",
        _part_of_key("conversation_id"),
        _part_of_key("seq"),
        sa.Column("sender_id", Id, nullable=False),
        sa.Column("cid", key_text(64), nullable=False, comment="the sender's own name for it"),
        sa.Column(
            "cid_digest",
            sa.String(64),
            nullable=False,
            comment="SHA-256 of conversation and body as first sent, in hex",
        ),
        sa.Column("body", sa.Text, nullable=False, comment="empty once it is deleted"),
        sa.Column("at", Moment, nullable=False),
        sa.Column("edited_at", Moment),
        sa.Column("deleted_at", Moment),
        sa.UniqueConstraint("sender_id", "cid", name="uq_message_sender_id_cid"),
        **MYSQL,
    )
    create_table(
        "message_report",
        sa.Column("id", Id, primary_key=True),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("seq", Id, nullable=False),
        sa.Column("reader_id", Id, nullable=False, comment="who reports it"),
        sa.Column("sender_id", Id, nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column(
            "body", sa.Text, nullable=False, comment="as it was then; its sender may delete it"
        ),
        sa.Column("at", Moment, nullable=False),
        sa.Column("closed_at", Moment, comment="when an operator had dealt with it"),
        sa.UniqueConstraint(
            "conversation_id",
            "seq",
            "reader_id",
            name="uq_message_report_conversation_id_seq_reader_id",
        ),
        **MYSQL,
    )
    create_index("ix_message_report_closed_at", "message_report", ["closed_at"])
    create_index("ix_message_report_reader_id_at", "message_report", ["reader_id", "at"])


def _add_notices() -> None:
    create_table(
        "inbox",
        _part_of_key("audience", comment="a reader; 0 is all operators"),
        sa.Column("last_seq", Id, nullable=False),
        **MYSQL,
    )
    create_table(
        "notice",
        _part_of_key("audience"),
        _part_of_key("seq"),
        sa.Column("type", key_text(32), nullable=False),
        sa.Column("subject", key_text(64), nullable=False, comment="what it is about, as order:42"),
        sa.Column(
            "once", key_text(128), comment="what makes it one notice, however often it is told"
        ),
        sa.Column("data", sa.Text, nullable=False, comment="JSON that the wording is filled from"),
        sa.Column("times", sa.Integer, nullable=False, comment="how often it happened"),
        sa.Column("at", Moment, nullable=False, comment="when it happened last"),
        sa.UniqueConstraint("audience", "once", name="uq_notice_audience_once"),
        **MYSQL,
    )
    create_index("ix_notice_at", "notice", ["at"])
    create_table(
        "notice_mark",
        _part_of_key("audience"),
        _part_of_key("reader_id"),
        sa.Column("read_seq", Id, nullable=False),
        **MYSQL,
    )
    create_table(
        "notice_switch",
        _part_of_key("reader_id"),
        sa.Column("type", key_text(32), primary_key=True),
        **MYSQL,
    )


def _part_of_key(name: str, comment: str | None = None) -> sa.Column[int]:
    return sa.Column(name, Id, primary_key=True, autoincrement=False, comment=comment)


def downgrade() -> None:
    for table in (
        "desk_question",
        "talk_outbox",
        "notice_switch",
        "notice_mark",
        "notice",
        "inbox",
        "message_report",
        "message",
        "reader_block",
        "conversation_member",
        "conversation",
    ):
        op.drop_table(table)
