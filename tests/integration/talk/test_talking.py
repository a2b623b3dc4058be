"""Conversations from their start to their end, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tidings.store.engine import transaction
from tidings.talk import events
from tidings.talk.blocks import block
from tidings.talk.conversations import (
    find_conversations,
    start_desk,
    start_direct,
    start_group,
)
from tidings.talk.errors import BlockedError, CidConflictError, NotAMemberError
from tidings.talk.history import delete, edit, find_messages
from tidings.talk.joining import add_members, leave
from tidings.talk.marks import Unread, count_unread, mark_read
from tidings.talk.notices import (
    OPERATORS,
    NoticeType,
    count_unread_notices,
    find_notices,
    mark_notices_read,
    notify,
    switch_off,
)
from tidings.talk.outbox import Posted, claim, forget, telling
from tidings.talk.reports import find_reports, report
from tidings.talk.sending import Refused, Send, Sent, send_many
from tidings.talk.transacting import transact

ANN, BEN, CID = 7, 9, 12


def say(engine: Engine, sender: int, conv: int, cid: str, body: str = "hello") -> Sent | Refused:
    send = Send(sender_id=sender, cid=cid, conversation_id=conv, body=body)
    return transact(engine, lambda conn: send_many(conn, [send]))[0]


def test_a_conversation_from_its_start_to_its_end(engine: Engine) -> None:
    told: list[Posted] = []
    engine = telling(engine, told.append)
    conv = transact(engine, lambda conn: start_direct(conn, ANN, BEN)).conversation_id
    assert transact(engine, lambda conn: start_direct(conn, BEN, ANN)).conversation_id == conv
    first = say(engine, ANN, conv, "a")
    assert isinstance(first, Sent)
    assert first.seq == 1
    assert say(engine, ANN, conv, "a") == first
    bad = say(engine, ANN, conv, "a", "other")
    assert isinstance(bad, Refused)
    assert isinstance(bad.error, CidConflictError)
    foreign = say(engine, CID, conv, "a", "other")
    assert isinstance(foreign, Refused)
    assert isinstance(foreign.error, NotAMemberError)
    assert [posted.entries[0].to for posted in told] == ["7,9"]
    with engine.connect() as conn:
        assert count_unread(conn, BEN) == Unread(conversations=1, messages=1)
        assert count_unread(conn, ANN) == Unread(conversations=0, messages=0)
        assert find_conversations(conn, BEN)[0].unread == 1
    with transaction(engine) as conn:
        assert mark_read(conn, BEN, conv, seq=1) == 1
        edit(conn, ANN, conv, seq=1, body="new")
        assert find_messages(conn, BEN, conv)[0].body == "new"
        delete(conn, ANN, conv, seq=1)
        forget(conn, [posted.id for posted in told])
    with transaction(engine) as conn:
        block(conn, BEN, ANN)
    blocked = say(engine, ANN, conv, "b")
    assert isinstance(blocked, Refused)
    assert isinstance(blocked.error, BlockedError)
    with transaction(engine) as conn:
        group = start_group(conn, ANN, title="Friday", member_ids=[CID]).conversation_id
        add_members(conn, ANN, group, member_ids=[99])
    assert isinstance(say(engine, CID, group, "x"), Sent)
    with transaction(engine) as conn:
        report(conn, ANN, group, seq=1, reason="spam")
        assert find_reports(conn, limit=5)[0].body == "hello"
        leave(conn, ANN, group)
        start_desk(conn, ANN)
    with pytest.raises(NotAMemberError), engine.connect() as conn:
        find_messages(conn, ANN, group)


def test_notices_are_counted_told_and_read(engine: Engine) -> None:
    with transaction(engine) as conn:
        for _ in range(2):
            notify(
                conn,
                audience=ANN,
                type=NoticeType.ORDER_PAID,
                subject="order:42",
                data={"order_id": 42},
                once="order_paid:42",
            )
            notify(
                conn,
                audience=OPERATORS,
                type=NoticeType.IMPORT_FAILED,
                subject="source:3",
                data={"source_id": 3},
                group="import_failed:3",
            )
    with engine.connect() as conn:
        assert count_unread_notices(conn, ANN, audiences=[ANN, OPERATORS]) == {ANN: 1, OPERATORS: 1}
        assert find_notices(conn, ANN, audience=OPERATORS)[0].notice.times == 2
    due = claim(engine, limit=10)
    assert [entry.to for posted in due for entry in posted.entries] == ["7", "operator", "operator"]
    assert claim(engine, limit=10) == []
    with transaction(engine) as conn:
        mark_notices_read(conn, ANN, audience=ANN, seq=99)
        switch_off(conn, ANN, [NoticeType.IMPORT_FAILED])
        assert count_unread_notices(conn, ANN, audiences=[ANN, OPERATORS]) == {ANN: 0, OPERATORS: 0}
        forget(conn, [posted.id for posted in due])
    assert b"notices_read" in claim(engine, limit=10)[0].entries[0].frame
    assert (
        events.hide(b'{"type":"message","body":"x","seq":1}')
        == b'{"type":"message","seq":1,"hidden":true}'
    )
