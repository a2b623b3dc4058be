"""Notices are rows of the transaction that causes them, told once, counted and read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from tests.lab.talk import Talk, counted_statements
from tidings.store.engine import transaction
from tidings.talk.errors import InvalidError
from tidings.talk.notices import (
    MOST_COUNTED,
    OPERATORS,
    Draft,
    NoticeType,
    count_unread_notices,
    find_notices,
    find_switched_off,
    mark_notices_read,
    notify_many,
    switch_off,
)
from tidings.talk.outbox import claim
from tidings.talk.tables import notice

ANN, BEN = 7, 9


def paid(audience: int, order_id: int, **more: Any) -> Draft:
    return Draft(
        audience=audience,
        type=NoticeType.ORDER_PAID,
        subject=f"order:{order_id}",
        data={"order_id": order_id},
        **more,
    )


def failed(source_id: int, error: str = "timed out") -> Draft:
    return Draft(
        audience=OPERATORS,
        type=NoticeType.IMPORT_FAILED,
        subject=f"source:{source_id}",
        data={"source_id": source_id, "error": error},
        group=f"import_failed:{source_id}",
    )


def unread(talk: Talk, reader: int, *audiences: int) -> list[int]:
    counted = talk.ask(count_unread_notices, reader, audiences=audiences)
    return [counted[audience] for audience in audiences]


def test_a_notice_is_listed_counted_and_told(talk: Talk) -> None:
    talk.do(notify_many, [paid(ANN, 42)])

    (listed,) = talk.ask(find_notices, ANN, audience=ANN)
    assert (listed.notice.subject, listed.notice.data, listed.is_read) == (
        "order:42",
        {"order_id": 42},
        False,
    )
    assert unread(talk, ANN, ANN, OPERATORS) == [1, 0]
    (entry,) = talk.entries
    assert entry.to == "7"
    told = msgspec.json.decode(entry.frame)
    assert (told["type"], told["notice"]["type"], told["notice"]["seq"]) == (
        "notice",
        "order_paid",
        1,
    )


def test_a_transaction_that_fails_notifies_nobody_of_it(talk: Talk) -> None:
    def fail(conn: Any) -> None:
        notify_many(conn, [paid(ANN, 42)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talk.do(fail)

    assert talk.ask(find_notices, ANN, audience=ANN) == []
    assert claim(talk.engine, limit=5) == []
    assert talk.told == []


def test_what_is_told_once_is_told_once(talk: Talk) -> None:
    """In one call, and in two; another audience's is another notice."""
    talk.do(notify_many, [paid(ANN, 42, once="paid:42"), paid(ANN, 42, once="paid:42")])
    talk.do(notify_many, [paid(ANN, 42, once="paid:42"), paid(BEN, 42, once="paid:42")])

    assert unread(talk, ANN, ANN) == unread(talk, BEN, BEN) == [1]
    assert [entry.to for entry in talk.entries] == ["7", "9"]


def test_what_happens_again_on_one_day_is_one_notice_that_counts(talk: Talk) -> None:
    """It has the newest data; an operator who has read it is not told anew."""
    talk.do(notify_many, [failed(3, "refused"), failed(4)])
    talk.do(mark_notices_read, ANN, audience=OPERATORS, seq=99)
    talk.do(notify_many, [failed(3), failed(3, "no such host")])

    newest, oldest = talk.ask(find_notices, ANN, audience=OPERATORS)
    assert (oldest.notice.times, oldest.notice.data["error"]) == (3, "no such host")
    assert newest.notice.times == 1
    assert unread(talk, ANN, OPERATORS) == [0]
    assert unread(talk, BEN, OPERATORS) == [2]
    told = [msgspec.json.decode(entry.frame)["notice"] for entry in talk.entries[-1:]]
    assert [(one["seq"], one["times"]) for one in told] == [(oldest.notice.seq, 3)]


def test_the_next_day_it_is_told_anew(talk: Talk) -> None:
    talk.do(notify_many, [failed(3)])
    with transaction(talk.engine) as conn:
        row = conn.execute(notice.select()).one()
        yesterday = row.at - timedelta(days=1)
        before = row.once.replace(f"{row.at:%Y-%m-%d}", f"{yesterday:%Y-%m-%d}")
        conn.execute(update(notice).values(at=yesterday, once=before))

    talk.do(notify_many, [failed(3)])

    assert [one.notice.times for one in talk.ask(find_notices, ANN, audience=OPERATORS)] == [1, 1]


def test_lists_go_page_by_page_from_the_newest(talk: Talk) -> None:
    talk.do(notify_many, [paid(ANN, n) for n in range(7)])
    seen: list[int] = []
    before = None
    while page := talk.ask(find_notices, ANN, audience=ANN, before=before, limit=3):
        seen += [one.notice.data["order_id"] for one in page]
        before = page[-1].notice.seq

    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_a_mark_is_a_readers_own_and_never_goes_back(talk: Talk) -> None:
    talk.do(notify_many, [failed(n) for n in range(3)])

    assert talk.do(mark_notices_read, ANN, audience=OPERATORS, seq=2) == 2
    assert talk.do(mark_notices_read, ANN, audience=OPERATORS, seq=1) == 2
    assert unread(talk, ANN, OPERATORS) == [1]
    assert unread(talk, BEN, OPERATORS) == [3]
    assert talk.do(mark_notices_read, ANN, audience=OPERATORS, seq=10**9) == 3
    talk.do(notify_many, [failed(9)])
    assert unread(talk, ANN, OPERATORS) == [1]
    assert [entry.to for entry in talk.entries if b"notices_read" in entry.frame] == ["7", "7"]


def test_a_type_that_is_switched_off_is_not_written_and_the_others_are(talk: Talk) -> None:
    talk.do(switch_off, ANN, [NoticeType.ORDER_PAID, NoticeType.IMPORT_FAILED])
    cancelled = msgspec.structs.replace(paid(ANN, 42), type=NoticeType.ORDER_CANCELLED)

    talk.do(notify_many, [paid(ANN, 42), cancelled, paid(BEN, 43), failed(3)])

    assert [one.notice.type for one in talk.ask(find_notices, ANN, audience=ANN)] == [
        "order_cancelled"
    ]
    # Operators share their notices, so one who switched it off is shown less.
    assert talk.ask(find_notices, ANN, audience=OPERATORS) == []
    assert unread(talk, ANN, ANN, OPERATORS) == [1, 0]
    assert unread(talk, BEN, BEN, OPERATORS) == [1, 1]

    talk.do(switch_off, ANN, [])
    assert talk.ask(find_switched_off, ANN) == frozenset()
    talk.do(notify_many, [paid(ANN, 44)])
    assert unread(talk, ANN, ANN, OPERATORS) == [2, 1]


def test_a_count_ends_at_what_is_told_as_more(talk: Talk) -> None:
    talk.do(notify_many, [paid(ANN, n) for n in range(MOST_COUNTED + 5)])

    assert unread(talk, ANN, ANN) == [MOST_COUNTED]


def test_many_notices_cost_as_many_statements_as_one(talk: Talk) -> None:
    costs = []
    for start, number in ((0, 1), (1000, 10), (2000, 300)):
        drafts = [paid(start + n, n, once=f"paid:{n}") for n in range(1, number + 1)]
        with counted_statements(talk.engine) as seen:
            talk.do(notify_many, drafts)
        costs.append(len(seen))

    assert len(set(costs)) == 1, costs


def test_data_is_bounded(talk: Talk) -> None:
    with pytest.raises(InvalidError):
        talk.do(notify_many, [failed(3, "e" * 2048)])
    assert talk.ask(find_notices, ANN, audience=OPERATORS) == []
