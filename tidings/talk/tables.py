"""The tables of conversations, messages and notices, and of what has still to go onto the bus.

A message is found by (conversation, seq) and by nothing else, so its row has no number of its own:
the rows of a conversation lie together, and reading a page of them, or counting those that are
unread, walks one stretch of the primary key. No foreign key points at `conversation`: checking one
locks the row that the next message wants to change. Rejected: a row of unread counts for each
member; one message to a group of 200 would then change 200 rows, and every delete and block more.

    conn.execute(select(conversation).where(conversation.c.id == 7))
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tidings.store.metadata import MYSQL, Id, LongBytes, Moment, key_text, metadata

conversation = Table(
    "conversation",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False, comment="direct, group or desk"),
    Column("title", String(100), nullable=False, comment="of a group; empty for the others"),
    Column("direct_key", key_text(41), comment="lower:higher reader id, of all but groups"),
    Column("last_seq", Id, nullable=False, comment="of the newest message; 0 before the first"),
    Column("created_by", Id, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False, comment="when the newest message came"),
    UniqueConstraint("direct_key", name="uq_conversation_direct_key"),
    Index("ix_conversation_created_by_created_at", "created_by", "created_at"),
    **MYSQL,
)

conversation_member = Table(
    "conversation_member",
    metadata,
    Column("conversation_id", Id, primary_key=True, autoincrement=False),
    Column("reader_id", Id, primary_key=True, autoincrement=False),
    Column("role", String(16), nullable=False, comment="owner or member"),
    Column("read_seq", Id, nullable=False, comment="up to here it was read"),
    Column("from_seq", Id, nullable=False, comment="only messages after it are seen"),
    Column("muted", SmallInteger, nullable=False, comment="1: not counted in the badge"),
    Column("joined_at", Moment, nullable=False),
    Index("ix_conversation_member_reader_id", "reader_id"),
    **MYSQL,
)

message = Table(
    "message",
    metadata,
    Column("conversation_id", Id, primary_key=True, autoincrement=False),
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("sender_id", Id, nullable=False),
    Column("cid", key_text(64), nullable=False, comment="the sender's own name for it"),
    Column(
        "cid_digest",
        String(64),
        nullable=False,
        comment="SHA-256 of conversation and body as first sent, in hex",
    ),
    Column("body", Text, nullable=False, comment="empty once it is deleted"),
    Column("at", Moment, nullable=False),
    Column("edited_at", Moment),
    Column("deleted_at", Moment),
    UniqueConstraint("sender_id", "cid", name="uq_message_sender_id_cid"),
    **MYSQL,
)

# A message to the desk that is not answered yet.
desk_question = Table(
    "desk_question",
    metadata,
    Column("conversation_id", Id, primary_key=True, autoincrement=False),
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("taken_until", Moment, nullable=False, comment="until then a node answers it"),
    Index("ix_desk_question_taken_until", "taken_until"),
    **MYSQL,
)

message_report = Table(
    "message_report",
    metadata,
    Column("id", Id, primary_key=True),
    Column("conversation_id", Id, nullable=False),
    Column("seq", Id, nullable=False),
    Column("reader_id", Id, nullable=False, comment="who reports it"),
    Column("sender_id", Id, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("body", Text, nullable=False, comment="as it was then; its sender may delete it"),
    Column("at", Moment, nullable=False),
    Column("closed_at", Moment, comment="when an operator had dealt with it"),
    UniqueConstraint(
        "conversation_id",
        "seq",
        "reader_id",
        name="uq_message_report_conversation_id_seq_reader_id",
    ),
    Index("ix_message_report_closed_at", "closed_at"),
    Index("ix_message_report_reader_id_at", "reader_id", "at"),
    **MYSQL,
)

reader_block = Table(
    "reader_block",
    metadata,
    Column("reader_id", Id, primary_key=True, autoincrement=False),
    Column("blocked_id", Id, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    **MYSQL,
)

# The row of an audience is its turn: notices are numbered, and conversations started, under it.
inbox = Table(
    "inbox",
    metadata,
    Column(
        "audience",
        Id,
        primary_key=True,
        autoincrement=False,
        comment="a reader; 0 is all operators",
    ),
    Column("last_seq", Id, nullable=False),
    **MYSQL,
)

notice = Table(
    "notice",
    metadata,
    Column("audience", Id, primary_key=True, autoincrement=False),
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("type", key_text(32), nullable=False),
    Column("subject", key_text(64), nullable=False, comment="what it is about, as order:42"),
    Column("once", key_text(128), comment="what makes it one notice, however often it is told"),
    Column("data", Text, nullable=False, comment="JSON that the wording is filled from"),
    Column("times", Integer, nullable=False, comment="how often it happened"),
    Column("at", Moment, nullable=False, comment="when it happened last"),
    UniqueConstraint("audience", "once", name="uq_notice_audience_once"),
    Index("ix_notice_at", "at"),
    **MYSQL,
)

notice_mark = Table(
    "notice_mark",
    metadata,
    Column("audience", Id, primary_key=True, autoincrement=False),
    Column("reader_id", Id, primary_key=True, autoincrement=False),
    Column("read_seq", Id, nullable=False),
    **MYSQL,
)

# A row is a type that its reader wants to hear nothing of.
notice_switch = Table(
    "notice_switch",
    metadata,
    Column("reader_id", Id, primary_key=True, autoincrement=False),
    Column("type", key_text(32), primary_key=True),
    **MYSQL,
)

talk_outbox = Table(
    "talk_outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("due_at", Moment, nullable=False, comment="from then on any node may send it"),
    Column("entries", LongBytes, nullable=False, comment="a list of bus entries, as MessagePack"),
    Index("ix_talk_outbox_due_at", "due_at"),
    # A node drops what comes over the bus twice by the row's number, so none may come back.
    sqlite_autoincrement=True,
    **MYSQL,
)
