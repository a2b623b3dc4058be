"""Nodes that store at the same instant: they wait for each other, and what one must repeat is
stored once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import pytest
from sqlalchemy import Table, select
from structlog.testing import capture_logs

from tests.conftest import MakeSettings
from tests.lab.talk import Talk
from tidings.store.engine import make_engine
from tidings.talk.conversations import MOST_STARTED, read_conversation, start_direct
from tidings.talk.errors import CidConflictError, QuotaError
from tidings.talk.history import find_messages
from tidings.talk.joining import remove_member
from tidings.talk.notices import Draft, NoticeType, find_notices, notify, notify_many
from tidings.talk.sending import Refused, Send, Sent, send_many
from tidings.talk.tables import conversation, inbox

T = TypeVar("T")
ROUNDS = 15


@pytest.fixture
def nodes(database_url: str, make_settings: MakeSettings) -> Iterator[Sequence[Talk]]:
    engines = [make_engine(make_settings(database_url=database_url).database) for _ in range(2)]
    yield [Talk(engine) for engine in engines]
    for engine in engines:
        engine.dispose()


def at_once(*acts: Callable[[], T]) -> list[T]:
    """What each gives; all begin together."""
    gate = threading.Barrier(len(acts))

    def begin(act: Callable[[], T]) -> T:
        gate.wait(timeout=60)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(begin, act) for act in acts]]


def test_batches_in_opposite_orders_are_stored_without_a_deadlock(nodes: Sequence[Talk]) -> None:
    """The conversations are locked in the order of their ids, whatever the order of the sends."""
    conversations = [nodes[0].direct(7, other) for other in range(100, 120)]

    def send(node: Talk, order: Sequence[int], sender_of: Callable[[int], int]) -> None:
        for n in range(ROUNDS):
            sends = [
                Send(
                    sender_id=sender_of(conversation_id),
                    cid=f"{n}.{conversation_id}",
                    conversation_id=conversation_id,
                    body="hello",
                )
                for conversation_id in order
            ]
            assert all(isinstance(said, Sent) for said in node.do(send_many, sends))

    with capture_logs() as logs:
        at_once(
            lambda: send(nodes[0], conversations, lambda _: 7),
            lambda: send(nodes[1], conversations[::-1], lambda id_: 100 + conversations.index(id_)),
        )

    assert [line for line in logs if line.get("cause") == "deadlock"] == []
    for conversation_id in conversations:
        seqs = [said.seq for said in nodes[0].ask(find_messages, 7, conversation_id, limit=100)]
        assert seqs == list(range(2 * ROUNDS, 0, -1))


@contextmanager
def row_held(node: Talk, table: Table, key: int) -> Iterator[Callable[[int], None]]:
    """A row that another transaction holds; what is given waits until so many wait for locks."""
    column = next(iter(table.primary_key))

    def wait(number: int) -> None:
        waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        deadline = time.monotonic() + 60
        with node.engine.connect() as conn:
            while conn.exec_driver_sql(waiting).scalar_one() < number:
                assert time.monotonic() < deadline
                time.sleep(0.2)  # MariaDB looks anew only after a tenth of a second of rest

    with node.engine.connect() as conn:
        conn.execute(select(column).where(column == key).with_for_update())
        yield wait


@pytest.mark.parametrize("what", ["messages", "notices"])
def test_who_comes_from_the_other_end_waits_at_the_first_row(
    mariadb_url: str, make_settings: MakeSettings, what: str
) -> None:
    """With the middle one held by a third, two that went opposite ways would each hold what the
    other wants, for certain."""
    database = make_settings(database_url=mariadb_url).database
    nodes = [Talk(make_engine(database)) for _ in range(3)]
    readers = [100, 200, 300]
    conversations = [nodes[0].direct(7, other) for other in readers]
    notify_all(nodes[0], readers, "first")
    table, middle = (conversation, conversations[1]) if what == "messages" else (inbox, readers[1])

    def store(node: Talk, step: int) -> None:
        if what == "notices":
            notify_all(node, readers[::step], f"step {step}")
            return
        sends = [
            Send(sender_id=7, cid=f"{step} {id_}", conversation_id=id_, body="hello")
            for id_ in conversations[::step]
        ]
        node.do(send_many, sends)

    with capture_logs() as logs, ThreadPoolExecutor(2) as pool:
        with row_held(nodes[2], table, middle) as wait:
            futures = [pool.submit(store, nodes[0], 1), pool.submit(store, nodes[1], -1)]
            wait(2)
        for future in futures:
            future.result()
    for node in nodes:
        node.engine.dispose()

    assert [line["cause"] for line in logs if "cause" in line] == []


def notify_all(node: Talk, readers: Sequence[int], once: str) -> None:
    """One notice for each, in this order."""
    drafts = [
        Draft(
            audience=reader,
            type=NoticeType.ORDER_CANCELLED,
            subject="order:1",
            data={},
            once=once,
        )
        for reader in readers
    ]
    node.do(notify_many, drafts)


def test_transactions_that_notify_in_opposite_orders_both_succeed_in_the_end(
    nodes: Sequence[Talk],
) -> None:
    """MariaDB rolls one of the two back; it is run again, and each notice is there once."""

    def notify_both(node: Talk, readers: Sequence[int], order_id: int) -> None:
        def work(conn: Any) -> None:
            for reader in readers:
                notify(
                    conn,
                    audience=reader,
                    type=NoticeType.ORDER_PAID,
                    subject=f"order:{order_id}",
                    data={"order_id": order_id},
                    once=f"order_paid:{order_id}",
                )

        node.do(work)

    for n in range(ROUNDS):
        at_once(
            lambda n=n: notify_both(nodes[0], (7, 9), 2 * n),  # type: ignore[misc]
            lambda n=n: notify_both(nodes[1], (9, 7), 2 * n + 1),  # type: ignore[misc]
        )

    for reader in (7, 9):
        listed = nodes[0].ask(find_notices, reader, audience=reader, limit=100)
        assert {one.notice.data["order_id"] for one in listed} == set(range(2 * ROUNDS))
        assert len(listed) == 2 * ROUNDS


def test_a_cid_that_comes_to_both_nodes_at_once_is_one_message(nodes: Sequence[Talk]) -> None:
    """A client that lost its connection sends again elsewhere."""
    conversation_id = nodes[0].direct(7, 9)
    for n in range(ROUNDS):
        first, second = at_once(
            *[lambda node=node: node.say(7, conversation_id, cid=f"c{n}") for node in nodes]  # noqa: B023
        )
        assert first == second

    assert len(nodes[0].ask(find_messages, 9, conversation_id, limit=100)) == ROUNDS
    entries = [entry for node in nodes for entry in node.entries]
    assert len(entries) == ROUNDS


def test_a_cid_that_comes_to_two_conversations_at_once_is_one_message(
    nodes: Sequence[Talk],
) -> None:
    here, there = nodes[0].direct(7, 9), nodes[0].direct(7, 12)
    for n in range(ROUNDS):
        answers = at_once(
            lambda n=n: nodes[0].try_say(7, here, cid=f"c{n}"),  # type: ignore[misc]
            lambda n=n: nodes[1].try_say(7, there, cid=f"c{n}"),  # type: ignore[misc]
        )
        (refused,) = [said for said in answers if isinstance(said, Refused)]
        assert isinstance(refused.error, CidConflictError)

    found = [nodes[0].ask(read_conversation, 7, id_).last_seq for id_ in (here, there)]
    assert sum(found) == ROUNDS


def test_two_readers_who_start_at_once_have_one_conversation(nodes: Sequence[Talk]) -> None:
    for other in range(100, 100 + ROUNDS):
        first, second = at_once(
            lambda other=other: nodes[0].direct(7, other),  # type: ignore[misc]
            lambda other=other: nodes[1].direct(other, 7),  # type: ignore[misc]
        )
        assert first == second


def test_the_quota_holds_though_all_are_started_at_once(nodes: Sequence[Talk]) -> None:
    for other in range(100, 100 + MOST_STARTED - 3):
        nodes[0].direct(7, other)

    def start(node: Talk, other: int) -> bool:
        try:
            node.do(start_direct, 7, other)
        except QuotaError:
            return False
        return True

    started = at_once(*[lambda n=n: start(nodes[n % 2], 500 + n) for n in range(8)])

    assert sum(started) == 3


def test_a_reader_who_is_removed_hears_nothing_that_came_after(nodes: Sequence[Talk]) -> None:
    """Though the owner writes at one node while the other one removes."""
    group = nodes[0].group(7, 9)
    removed = threading.Event()

    def write() -> None:
        for _ in range(500):
            nodes[0].say(7, group)
            if removed.is_set():
                break
        nodes[0].say(7, group)

    def remove() -> None:
        nodes[1].do(remove_member, 7, group, member_id=9)
        removed.set()

    at_once(write, remove)

    (left,) = [msgspec.json.decode(entry.frame) for entry in nodes[1].entries]
    said = [(entry.to, msgspec.json.decode(entry.frame)) for entry in nodes[0].entries[1:]]
    assert left["change"] == "left"
    for to, frame in said:
        assert to == ("7,9" if frame["seq"] <= left["last_seq"] else "7"), frame
    assert said[-1][0] == "7"
