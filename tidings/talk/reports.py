"""Messages that readers report, for an operator to look at.

An operator sees reported messages and no others: there is no way to read a conversation of others.
A report keeps the text as it was, since its sender may delete the message the moment after.
Rejected: a report that only names the message; what it names would be empty.

    report(conn, 7, conversation_id, seq=12, reason="spam")
    find_reports(conn, limit=50)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from tidings.store.engine import database_now
from tidings.talk.errors import InvalidError, NoSuchMessageError, QuotaError
from tidings.talk.history import delete_unasked
from tidings.talk.inboxes import take_turn
from tidings.talk.members import check_member
from tidings.talk.tables import message, message_report

MOST_REASON = 500
# More than a person reads and reports in a day; a flood of them hides those that matter.
MOST_REPORTS = 50
REPORTED_WITHIN = timedelta(days=1)


class ReportNotFoundError(Exception):
    """No report has this number."""

    def __init__(self, report_id: int) -> None:
        super().__init__(
            f"there is no report {report_id}; `tidings reports list` shows those there are"
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a reader reported, with its text of that moment."""

    report_id: int
    conversation_id: int
    seq: int
    reader_id: int
    sender_id: int
    reason: str
    body: str
    at: datetime
    closed_at: datetime | None


def report(
    conn: Connection, reader_id: int, conversation_id: int, *, seq: int, reason: str
) -> None:
    """Report a message to the operators; to report it again changes nothing.

    Args:
        reason: in the reader's words, up to MOST_REASON characters; may be empty.

    Raises:
        TalkError: invalid, not_a_member, no_such_message or quota.
    """
    reason = reason.strip()
    if len(reason) > MOST_REASON:
        raise InvalidError(f"a reason has at most {MOST_REASON} characters")
    now = take_turn(conn, reader_id)
    said, known = message.c, message_report.c
    from_seq = check_member(conn, reader_id, conversation_id)
    row = conn.execute(
        select(said.sender_id, said.body, said.deleted_at).where(
            said.conversation_id == conversation_id, said.seq == seq, said.seq > from_seq
        )
    ).first()
    if row is None or row.deleted_at is not None:
        raise NoSuchMessageError(seq)
    if row.sender_id == reader_id:
        raise InvalidError("this message is your own")
    mine = known.reader_id == reader_id
    same = (mine, known.conversation_id == conversation_id, known.seq == seq)
    if conn.scalar(select(known.id).where(*same)) is not None:
        return
    recent = select(func.count()).where(mine, known.at > now - REPORTED_WITHIN)
    if (conn.scalar(recent) or 0) >= MOST_REPORTS:
        raise QuotaError(f"you have reported {MOST_REPORTS} messages within a day")
    values = {
        "conversation_id": conversation_id,
        "seq": seq,
        "reader_id": reader_id,
        "sender_id": row.sender_id,
        "reason": reason,
        "body": row.body,
        "at": now,
    }
    conn.execute(insert(message_report).values(values))


def find_reports(conn: Connection, *, limit: int) -> list[Report]:
    """Reports that are open, the oldest first."""
    known = message_report.c
    rows = conn.execute(
        select(message_report).where(known.closed_at.is_(None)).order_by(known.id).limit(limit)
    )
    return [
        Report(
            report_id=row.id,
            conversation_id=row.conversation_id,
            seq=row.seq,
            reader_id=row.reader_id,
            sender_id=row.sender_id,
            reason=row.reason,
            body=row.body,
            at=row.at,
            closed_at=row.closed_at,
        )
        for row in rows
    ]


def close_report(conn: Connection, report_id: int) -> None:
    """Say that a report was dealt with; to say it again changes nothing.

    Raises:
        ReportNotFoundError: there is no such report.
    """
    _find(conn, report_id)
    open_ = (message_report.c.id == report_id, message_report.c.closed_at.is_(None))
    conn.execute(update(message_report).where(*open_).values(closed_at=database_now(conn)))


def delete_reported(conn: Connection, report_id: int) -> None:
    """Take the text from the message that was reported, and close the report.

    Raises:
        ReportNotFoundError: there is no such report.
    """
    row = _find(conn, report_id)
    delete_unasked(conn, row.conversation_id, row.seq)
    close_report(conn, report_id)


def _find(conn: Connection, report_id: int) -> Row[Any]:
    row = conn.execute(select(message_report).where(message_report.c.id == report_id)).first()
    if row is None:
        raise ReportNotFoundError(report_id)
    return row
