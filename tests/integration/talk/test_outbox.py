"""What was stored is told, by the node that stored it or by another; and it is not forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, select, update

from tests.conftest import MakeSettings
from tests.lab.talk import Talk, counted_statements
from tidings.store.engine import make_engine, transaction
from tidings.talk import outbox
from tidings.talk.notices import NoticeType, notify
from tidings.talk.outbox import Posted, claim, forget
from tidings.talk.tables import talk_outbox


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """So long no other node takes a row: longer than a busy machine may stop a test for."""
    longer = timedelta(minutes=10)
    monkeypatch.setattr(outbox, "HELD", longer)
    return longer


def wait_held(engine: Engine) -> None:
    """As if HELD had passed for all rows."""
    with transaction(engine) as conn:
        for row in conn.execute(talk_outbox.select()).all():
            earlier = row.due_at - outbox.HELD - timedelta(milliseconds=1)
            one = talk_outbox.c.id == row.id
            conn.execute(update(talk_outbox).where(one).values(due_at=earlier))


def tell_order(engine: Engine, order_id: int) -> None:
    """What the gateway does in its own transaction."""
    with transaction(engine) as conn:
        notify(
            conn,
            audience=7,
            type=NoticeType.ORDER_PAID,
            subject=f"order:{order_id}",
            data={"order_id": order_id},
        )


def test_a_node_tells_what_it_stored_and_no_other_node_does(talk: Talk) -> None:
    talk.say(7, talk.direct(7, 9))

    (posted,) = talk.told
    assert claim(talk.engine, limit=10) == []
    with transaction(talk.engine) as conn:
        forget(conn, [posted.id])
    wait_held(talk.engine)
    assert claim(talk.engine, limit=10) == []


def test_what_a_dead_node_stored_is_told_by_another_the_same(talk: Talk) -> None:
    talk.say(7, talk.direct(7, 9))
    wait_held(talk.engine)

    (taken,) = claim(talk.engine, limit=10)

    assert (taken.id, list(taken.entries)) == (talk.told[0].id, list(talk.told[0].entries))
    assert claim(talk.engine, limit=10) == []
    wait_held(talk.engine)  # that node died as well
    assert [posted.id for posted in claim(talk.engine, limit=10)] == [taken.id]


def test_what_the_gateway_stored_is_told_at_once(engine: Engine) -> None:
    tell_order(engine, 42)

    (taken,) = claim(engine, limit=10)
    assert [entry.to for entry in taken.entries] == ["7"]


def test_rows_are_taken_the_oldest_first_so_many_at_a_time(engine: Engine) -> None:
    for order_id in range(5):
        tell_order(engine, order_id)

    first, second = claim(engine, limit=3), claim(engine, limit=3)

    assert [posted.id for posted in first] == sorted(posted.id for posted in first)
    assert (len(first), len(second)) == (3, 2)
    assert max(posted.id for posted in first) < min(posted.id for posted in second)


def test_nodes_that_look_at_once_take_each_row_once(engine: Engine) -> None:
    for order_id in range(30):
        tell_order(engine, order_id)

    def take_all(_node: int) -> list[int]:
        taken: list[Posted] = []
        while more := claim(engine, limit=4):
            taken += more
        return [posted.id for posted in taken]

    with ThreadPoolExecutor(3) as pool:
        taken = [id_ for ids in pool.map(take_all, range(3)) for id_ in ids]
    taken += take_all(0)  # what one node had locked while the others looked

    assert len(taken) == len(set(taken)) == 30


def test_a_node_waits_for_no_row_that_another_holds(
    mariadb_url: str, make_settings: MakeSettings
) -> None:
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    tell_order(engine, 1)
    tell_order(engine, 2)

    with engine.connect() as conn:
        held = conn.scalars(select(talk_outbox.c.id).limit(1).with_for_update()).one()
        taken = claim(engine, limit=10)
    engine.dispose()

    assert [posted.id > held for posted in taken] == [True]


def test_looking_takes_no_lock_while_nothing_is_due(engine: Engine) -> None:
    """On SQLite a transaction that will write keeps all others waiting."""
    with transaction(engine), counted_statements(engine) as seen:
        assert claim(engine, limit=10) == []

    assert not any("IMMEDIATE" in statement or "UPDATE" in statement for statement in seen)


def test_a_row_that_cannot_be_read_is_taken_and_harms_no_other(engine: Engine) -> None:
    tell_order(engine, 42)
    with transaction(engine) as conn:
        at = conn.execute(talk_outbox.select()).one().at
        conn.execute(insert(talk_outbox).values(at=at, due_at=at, entries=b"\xc1 spoilt"))

    taken = claim(engine, limit=10)

    assert sorted(len(posted.entries) for posted in taken) == [0, 1]


def test_what_was_held_before_the_clock_was_set_back_is_told_at_once(talk: Talk) -> None:
    """A node that died had stored it by a clock that was an hour ahead."""
    talk.say(7, talk.direct(7, 9))
    hour = timedelta(hours=1)
    with transaction(talk.engine) as conn:
        row = conn.execute(talk_outbox.select()).one()
        conn.execute(update(talk_outbox).values(at=row.at + hour, due_at=row.due_at + hour))

    (taken,) = claim(talk.engine, limit=10)

    assert taken.id == row.id
    assert claim(talk.engine, limit=10) == [], "and held from then on"


def test_a_number_never_comes_back(engine: Engine) -> None:
    """Nodes drop what they have seen by it."""
    tell_order(engine, 1)
    (before,) = claim(engine, limit=10)
    with transaction(engine) as conn:
        forget(conn, [before.id])
    tell_order(engine, 2)

    (after,) = claim(engine, limit=10)
    assert after.id > before.id
