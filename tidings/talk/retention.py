"""What is forgotten: notices, closed reports, groups that all have left, and what was not told.

Each call takes a few hundred rows, in a transaction of its own, so no reader waits for it long.
Messages are kept while their conversation has a member. Rejected: to delete a group with its last
member's leaving; that request would delete a million rows.

    while prune_notices(engine, before):
        ...
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Engine,
    Select,
    Table,
    and_,
    delete,
    exists,
    or_,
    select,
)

from tidings.store.by_key import delete_by_key
from tidings.store.engine import transaction
from tidings.talk.members import lock_conversations
from tidings.talk.tables import (
    conversation,
    conversation_member,
    message,
    message_report,
    notice,
    talk_outbox,
)

# A reader who has not come for three months is told what is new by the news itself.
NOTICES_KEPT = timedelta(days=90)
REPORTS_KEPT = timedelta(days=90)
# Sockets that waited so long for Redis were told to load everything anew long before.
OUTBOX_KEPT = timedelta(days=1)
CHUNK = 500


def prune_notices(engine: Engine, now: datetime) -> int:
    """Delete notices that are older than NOTICES_KEPT, CHUNK at most; returns how many."""
    old = select(notice.c.audience, notice.c.seq).where(notice.c.at < now - NOTICES_KEPT)
    with transaction(engine) as conn:
        found = conn.execute(old.order_by(notice.c.at).limit(CHUNK)).all()
        keys = [and_(notice.c.audience == row.audience, notice.c.seq == row.seq) for row in found]
        if keys:
            # One that happened again since it was looked at stays.
            is_old = notice.c.at < now - NOTICES_KEPT
            conn.execute(delete(notice).where(or_(*keys), is_old))
    return len(found)


def prune_reports(engine: Engine, now: datetime) -> int:
    """Delete reports that were closed longer than REPORTS_KEPT ago, CHUNK at most."""
    known = message_report.c
    return _delete(
        engine,
        message_report,
        select(known.id).where(known.closed_at < now - REPORTS_KEPT).order_by(known.closed_at),
    )


def prune_outbox(engine: Engine, now: datetime) -> int:
    """Delete what was not told for OUTBOX_KEPT, CHUNK at most: no node of the chat runs, or none
    reaches Redis. All of it stands in the tables, where readers find it."""
    waiting = talk_outbox.c
    # In the order of ids, which is that of moments: from the oldest until the first that is young.
    return _delete(
        engine,
        talk_outbox,
        select(waiting.id).where(waiting.at < now - OUTBOX_KEPT).order_by(waiting.id),
    )


def find_deserted(engine: Engine) -> Iterator[int]:
    """Groups that all members have left, by id."""
    after = 0
    member = exists().where(conversation_member.c.conversation_id == conversation.c.id)
    while True:
        with engine.connect() as conn:
            ids = conn.scalars(
                select(conversation.c.id)
                .where(conversation.c.id > after, ~member)
                .order_by(conversation.c.id)
                .limit(CHUNK)
            ).all()
        yield from ids
        if len(ids) < CHUNK:
            return
        after = ids[-1]


def forget_deserted(engine: Engine, conversation_id: int) -> int:
    """Delete messages of a group that all have left, CHUNK at most, and with the last the group.

    Returns:
        How many messages; below CHUNK the group is gone.
    """
    with transaction(engine) as conn:
        if conversation_id not in lock_conversations(conn, [conversation_id]):
            return 0
        mine = message.c.conversation_id == conversation_id
        seqs = conn.scalars(select(message.c.seq).where(mine).order_by(message.c.seq).limit(CHUNK))
        found = seqs.all()
        if found:
            conn.execute(delete(message).where(mine, message.c.seq <= found[-1]))
        if len(found) < CHUNK:
            delete_by_key(conn, conversation, [conversation_id])
    return len(found)


def _delete(engine: Engine, table: Table, query: Select[Any]) -> int:
    with transaction(engine) as conn:
        ids = conn.scalars(query.limit(CHUNK)).all()
        if ids:
            delete_by_key(conn, table, ids)
    return len(ids)
