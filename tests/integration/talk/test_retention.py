"""What is forgotten, and when, by the static job `talk_prune`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, func, insert, select, update

from jobs.static.context import Context, Run
from jobs.work.talk import prune_talk, watch_outbox
from tests.lab.talk import Talk
from tidings.store.engine import database_now, transaction
from tidings.talk import retention
from tidings.talk.joining import leave
from tidings.talk.notices import NoticeType, find_notices, mark_notices_read, notify
from tidings.talk.reports import close_report, find_reports, report
from tidings.talk.tables import conversation, message, message_report, notice, talk_outbox

DAY = timedelta(days=1)


def night(talk: Talk, make_settings: Any, *, later: timedelta) -> str:
    """The job, so much later."""
    with talk.engine.connect() as conn:
        now: datetime = conn.execute(select(database_now(conn))).scalar_one() + later
    context = Context(talk.engine, None, make_settings(), "me")  # type: ignore[arg-type]
    return str(prune_talk(Run(context, now, now)))


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as conn:
        return conn.scalar(select(func.count()).select_from(table)) or 0


def tell(talk: Talk, number: int) -> None:
    talk.do(
        notify,
        audience=7,
        type=NoticeType.ORDER_PAID,
        subject=f"order:{number}",
        data={"order_id": number},
    )


def test_notices_are_kept_for_90_days_and_numbers_go_on(
    talk: Talk, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    for number in range(5):
        tell(talk, number)
    talk.do(mark_notices_read, 7, audience=7, seq=5)
    night(talk, make_settings, later=89 * DAY)
    assert count(talk.engine, notice) == 5

    said = night(talk, make_settings, later=91 * DAY)

    assert said.startswith("5 notices, ")
    assert count(talk.engine, notice) == 0
    tell(talk, 5)
    (listed,) = talk.ask(find_notices, 7, audience=7)
    assert (listed.notice.seq, listed.is_read) == (6, False)


def test_what_no_node_told_for_a_day_is_dropped_and_what_is_younger_is_not(
    talk: Talk, make_settings: Any
) -> None:
    tell(talk, 1)
    with transaction(talk.engine) as conn:
        row = conn.execute(talk_outbox.select()).one()
        conn.execute(update(talk_outbox).values(at=row.at - 2 * DAY))
    tell(talk, 2)

    assert night(talk, make_settings, later=timedelta()).endswith("1 untold deleted")
    assert count(talk.engine, talk_outbox) == 1
    assert count(talk.engine, notice) == 2


def test_it_is_seen_how_long_what_was_stored_waits(talk: Talk, make_settings: Any) -> None:
    def waits() -> float | None:
        with talk.engine.connect() as conn:
            now: datetime = conn.execute(select(database_now(conn))).scalar_one()
        later = now + timedelta(minutes=5)
        context = Context(talk.engine, None, make_settings(), "me")  # type: ignore[arg-type]
        watch_outbox(Run(context, later, later))
        return REGISTRY.get_sample_value("tidings_talk_outbox_oldest_seconds")

    assert waits() == 0
    tell(talk, 1)
    assert 300 <= (waits() or 0) < 600


def test_a_group_that_all_have_left_goes_and_others_stay(
    talk: Talk, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    groups = [talk.group(7, 9) for _ in range(5)]
    for group in groups:
        for _ in range(3):
            talk.say(9, group)
    for group in groups[1:]:
        talk.do(leave, 7, group)
    for group in groups[2:]:
        talk.do(leave, 9, group)

    assert ", 3 groups " in night(talk, make_settings, later=timedelta())

    with talk.engine.connect() as conn:
        left = set(conn.scalars(select(conversation.c.id)))
        assert left == set(groups[:2])
        assert set(conn.scalars(select(message.c.conversation_id))) == left
    assert night(talk, make_settings, later=timedelta()).startswith("0 notices, 0 reports, 0 gr")


def test_closed_reports_are_kept_for_90_days_and_open_ones_for_good(
    talk: Talk, make_settings: Any
) -> None:
    conversation_id = talk.direct(7, 9)
    for seq in (1, 2):
        talk.say(7, conversation_id)
        talk.do(report, 9, conversation_id, seq=seq, reason="")
    first, second = talk.ask(find_reports, limit=5)
    talk.do(close_report, first.report_id)
    night(talk, make_settings, later=89 * DAY)
    assert count(talk.engine, message_report) == 2

    night(talk, make_settings, later=91 * DAY)

    assert [one.report_id for one in talk.ask(find_reports, limit=5)] == [second.report_id]
    assert count(talk.engine, message_report) == 1


def test_a_group_that_cannot_be_forgotten_keeps_no_other(
    talk: Talk, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(talk.engine) as conn:
        at = database_now(conn)
        row = {"kind": "group", "title": "t", "last_seq": 0, "created_by": 7}
        for id_ in (3, 4):
            conn.execute(insert(conversation).values(id=id_, created_at=at, changed_at=at, **row))
    forget = retention.forget_deserted

    def fail_first(engine: Engine, conversation_id: int) -> int:
        if conversation_id == 3:
            with engine.connect() as conn:
                conn.exec_driver_sql("SELECT * FROM no_such_table")
        return forget(engine, conversation_id)

    monkeypatch.setattr(retention, "forget_deserted", fail_first)

    assert ", 1 groups " in night(talk, make_settings, later=timedelta())
    with talk.engine.connect() as conn:
        assert set(conn.scalars(select(conversation.c.id))) == {3}
