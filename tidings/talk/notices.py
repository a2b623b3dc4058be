"""Notices: what a reader, or all operators, are told about, as rows of the transaction that caused
it.

A notice is a type, a subject and data, never prose: the words are made in the reader's language
where it is shown. What happens many times is one notice that counts, until the day is over: a feed
that fails each hour is told once a day, with how often. Rejected: a message on the bus alone; a
reader who was away would never hear of it.

    notify(conn, audience=7, type=NoticeType.ORDER_PAID, subject="order:42", data={"order_id": 42},
           once="order_paid:42")
    notify(conn, audience=OPERATORS, type=NoticeType.IMPORT_FAILED, subject="source:3",
           data={"source_id": 3, "error": "timed out"}, group="import_failed:3")
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects import mysql, sqlite

from tidings.process.clock import milliseconds
from tidings.store.engine import database_now
from tidings.store.metadata import Id
from tidings.talk import events
from tidings.talk.errors import InvalidError
from tidings.talk.events import NoticeShown
from tidings.talk.inboxes import take_numbers
from tidings.talk.notice_rows import NoticeRow, find_known, write_rows
from tidings.talk.outbox import put
from tidings.talk.tables import inbox, notice, notice_mark, notice_switch

# The audience of all who have the role.
OPERATORS = 0
# Told as "99+".
MOST_COUNTED = 100
# Of what the words are filled from: a few numbers and titles, or an error's first lines.
MOST_DATA_BYTES = 2048


class NoticeType(StrEnum):
    """What a notice tells; its words stand beside the type in `wording`."""

    ORDER_PAID = "order_paid"
    ORDER_EXPIRING = "order_expiring"
    ORDER_CANCELLED = "order_cancelled"
    REFUND_SENT = "refund_sent"
    FRESH_ARTICLES = "fresh_articles"
    # To operators.
    REFUND_DEAD = "refund_dead"
    IMPORT_FAILED = "import_failed"
    JOB_DEAD = "job_dead"
    PAYMENT_MISMATCHED = "payment_mismatched"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A notice to be written.

    Attributes:
        audience: a reader id, or OPERATORS.
        subject: what it is about, as `order:42`; up to 64 characters.
        data: what its words are filled from, up to MOST_DATA_BYTES of JSON.
        once: a name of up to 100 characters; a second notice of this name is none.
        group: a name of up to 100 characters; on one day (UTC) all of this name are one notice,
            which counts them and has the newest data. One who has read it is not told anew.
    """

    audience: int
    type: NoticeType
    subject: str
    data: Mapping[str, Any]
    once: str | None = None
    group: str | None = None


def notify(
    conn: Connection,
    *,
    audience: int,
    type: NoticeType,
    subject: str,
    data: Mapping[str, Any],
    once: str | None = None,
    group: str | None = None,
) -> None:
    """Write one notice, as `notify_many` does; the arguments are those of `Draft`."""
    draft = Draft(audience=audience, type=type, subject=subject, data=data, once=once, group=group)
    notify_many(conn, [draft])


def notify_many(conn: Connection, drafts: Iterable[Draft]) -> None:
    """Write notices in the caller's transaction, by at most six statements however many there are.

    The inboxes of the audiences stay locked until the commit, taken in their order, operators
    first: call it last in the transaction, and once for all of its notices. A reader who switched a
    type off gets no notice of it.
    """
    wanted = _leave_out_switched(conn, list(drafts))
    if not wanted:
        return
    numbers: dict[int, int] = {}
    for draft in wanted:
        numbers[draft.audience] = numbers.get(draft.audience, 0) + 1
    lasts, now = take_numbers(conn, numbers)
    names = [_name(draft, now) for draft in wanted]
    pairs = zip(wanted, names, strict=True)
    known = find_known(conn, {(draft.audience, name) for draft, name in pairs if name is not None})
    next_seq = {audience: lasts[audience] - n + 1 for audience, n in numbers.items()}
    rows: dict[tuple[int, str | int], NoticeRow] = {}
    data: dict[tuple[int, str | int], Mapping[str, Any]] = {}
    for draft, name in zip(wanted, names, strict=True):
        audience = draft.audience
        key = (audience, next_seq[audience] if name is None else name)
        before = rows.get(key) or (None if name is None else known.get((audience, name)))
        if before is None:
            seq, times = next_seq[audience], 1
            next_seq[audience] += 1
        elif draft.group is not None:
            seq, times = before.seq, before.times + 1
        else:
            continue
        data[key] = draft.data
        rows[key] = NoticeRow(
            audience=audience,
            seq=seq,
            type=draft.type.value,
            subject=draft.subject,
            once=name,
            data=_encode(draft.data),
            times=times,
        )
    if rows:
        write_rows(conn, list(rows.values()), at=now)
        put(conn, [_entry(row, data[key], now) for key, row in rows.items()], now=now)


class ListedNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice in a reader's list."""

    notice: NoticeShown
    is_read: bool


def find_notices(
    conn: Connection, reader_id: int, *, audience: int, before: int | None = None, limit: int = 50
) -> list[ListedNotice]:
    """Notices of an audience, newest first.

    Args:
        audience: the reader's own id, or OPERATORS; that the reader is one is the caller's to see.
        before: below this seq, the last one of the page before.
    """
    query = select(notice).where(notice.c.audience == audience, _is_wanted(reader_id, audience))
    if before is not None:
        query = query.where(notice.c.seq < before)
    read_seq = _read_seq(conn, reader_id, audience)
    rows = conn.execute(query.order_by(notice.c.seq.desc()).limit(limit))
    return [
        ListedNotice(notice=_to_shown(row._asdict()), is_read=row.seq <= read_seq) for row in rows
    ]


def count_unread_notices(
    conn: Connection, reader_id: int, *, audiences: Sequence[int]
) -> Mapping[int, int]:
    """Audience → how many are unread, 0 to MOST_COUNTED, by one statement."""
    counts = [_count_unread(reader_id, audience) for audience in audiences]
    return {row[0]: row[1] for row in conn.execute(union_all(*counts))}


def mark_notices_read(conn: Connection, reader_id: int, *, audience: int, seq: int) -> int:
    """Say that a reader has read the notices of an audience up to seq; a mark never goes back.

    Returns:
        Where the mark is now; a seq from the future counts as the newest.
    """
    newest, now = conn.execute(
        select(
            select(inbox.c.last_seq).where(inbox.c.audience == audience).scalar_subquery(),
            database_now(conn),
        )
    ).one()
    seq = min(seq, newest or 0)
    before = _read_seq(conn, reader_id, audience)
    if seq <= before:
        return before
    values = {"audience": audience, "reader_id": reader_id, "read_seq": seq}
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(notice_mark).values(values)
        further: dict[str, Any] = {
            "read_seq": func.max(notice_mark.c.read_seq, lite.excluded.read_seq)
        }
        keys = ["audience", "reader_id"]
        conn.execute(lite.on_conflict_do_update(index_elements=keys, set_=further))
    else:
        my = mysql.insert(notice_mark).values(values)
        further = {"read_seq": func.greatest(notice_mark.c.read_seq, my.inserted.read_seq)}
        conn.execute(my.on_duplicate_key_update(further))
    event = events.NoticesRead(audience=audience, seq=seq)
    put(conn, [events.Entry.of(event, to=(reader_id,))], now=now)
    return seq


def find_switched_off(conn: Connection, reader_id: int) -> frozenset[NoticeType]:
    """The types that a reader wants to hear nothing of."""
    rows = conn.scalars(select(notice_switch.c.type).where(notice_switch.c.reader_id == reader_id))
    # A newer version's types may stand there.
    return frozenset(NoticeType(type_) for type_ in rows if type_ in set(NoticeType))


def switch_off(conn: Connection, reader_id: int, types: Collection[NoticeType]) -> None:
    """Have a reader hear nothing of these types, and of all others again."""
    conn.execute(delete(notice_switch).where(notice_switch.c.reader_id == reader_id))
    rows = [{"reader_id": reader_id, "type": type_.value} for type_ in sorted(set(types))]
    if rows:
        conn.execute(insert(notice_switch), rows)


def _leave_out_switched(conn: Connection, drafts: Sequence[Draft]) -> list[Draft]:
    people = {draft.audience for draft in drafts} - {OPERATORS}
    if not people:
        return list(drafts)
    switch = notice_switch.c
    query = select(switch.reader_id, switch.type).where(switch.reader_id.in_(people))
    off = {(row.reader_id, row.type) for row in conn.execute(query)}
    return [draft for draft in drafts if (draft.audience, draft.type.value) not in off]


def _name(draft: Draft, now: datetime) -> str | None:
    if draft.group is not None:
        return f"g:{now:%Y-%m-%d}:{draft.group}"
    return None if draft.once is None else f"o:{draft.once}"


def _entry(row: NoticeRow, data: Mapping[str, Any], now: datetime) -> events.Entry:
    to = events.OPERATOR if row.audience == OPERATORS else row.audience
    shown = NoticeShown(
        audience=row.audience,
        seq=row.seq,
        type=row.type,
        subject=row.subject,
        data=data,
        times=row.times,
        at=milliseconds(now),
    )
    return events.Entry.of(events.Notice(notice=shown), to=(to,))


def _to_shown(row: Mapping[str, Any]) -> NoticeShown:
    return NoticeShown(
        audience=row["audience"],
        seq=row["seq"],
        type=row["type"],
        subject=row["subject"],
        data=msgspec.json.decode(row["data"]),
        times=row["times"],
        at=milliseconds(row["at"]),
    )


def _encode(data: Mapping[str, Any]) -> str:
    encoded = msgspec.json.encode(data)
    if len(encoded) > MOST_DATA_BYTES:
        raise InvalidError(f"a notice has at most {MOST_DATA_BYTES} bytes of data")
    return encoded.decode()


def _read_seq(conn: Connection, reader_id: int, audience: int) -> int:
    return int(conn.scalar(_select_read_seq(reader_id, audience)) or 0)


def _select_read_seq(reader_id: int, audience: int) -> Select[tuple[int]]:
    return select(notice_mark.c.read_seq).where(
        notice_mark.c.audience == audience, notice_mark.c.reader_id == reader_id
    )


def _is_wanted(reader_id: int, audience: int) -> Any:
    # A reader's own were left out as they were written; operators share their rows.
    if audience != OPERATORS:
        return literal(1) == 1
    off = select(notice_switch.c.type).where(notice_switch.c.reader_id == reader_id)
    return notice.c.type.not_in(off)


def _count_unread(reader_id: int, audience: int) -> Any:
    read_seq = func.coalesce(_select_read_seq(reader_id, audience).scalar_subquery(), 0)
    unread = (
        select(notice.c.seq)
        .where(
            notice.c.audience == audience,
            notice.c.seq > read_seq,
            _is_wanted(reader_id, audience),
        )
        .limit(MOST_COUNTED)
        .subquery()
    )
    return select(literal(audience, Id), func.count()).select_from(unread)
