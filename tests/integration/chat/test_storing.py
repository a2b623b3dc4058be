"""From a message to the bus: stored many at once, answered after the commit, told even if Redis or
the node is away in between. On SQLite and on MariaDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import OperationalError

from services.chat import publisher as publisher_module
from services.chat import writer as writer_module
from services.chat.bus import Bus
from services.chat.hub import BusEntry
from services.chat.positions import Position
from services.chat.publisher import Publisher
from services.chat.writer import Outcome, Unsent, Writer
from tests.conftest import MakeSettings
from tidings.process.clock import moment
from tidings.store.engine import make_engine, transaction
from tidings.store.redis import make_redis
from tidings.talk import outbox as outbox_module
from tidings.talk.conversations import start_direct
from tidings.talk.outbox import telling
from tidings.talk.sending import MOST_SENDS, Refused, Send, Sent, send_many
from tidings.talk.tables import message, talk_outbox

pytestmark = pytest.mark.usefixtures("quick")


class Node:
    """What stores and tells, run by hand: one round after the other."""

    def __init__(self, engine: Engine, redis: Redis) -> None:
        self.heard: list[BusEntry] = []
        self.bus = Bus(redis, self, most_kept=0, most_kept_bytes=1 << 20)
        self.publisher = Publisher(engine, self.bus)
        self.engine = telling(engine, self.publisher.tell)
        self.writer = Writer(self.engine)
        self.bus.read()

    def restart(self, position: Position, kept: Sequence[BusEntry], reason: str) -> None:
        del position, kept, reason

    def deliver(self, entries: Sequence[BusEntry]) -> None:
        self.heard += entries

    def capacity(self) -> int:
        return 1000

    def send(self, *sends: Send) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for send in sends:
            self.writer.send(send, outcomes.append)
        self.writer.write()
        return outcomes

    def told(self) -> list[int]:
        """The messages that the bus carried, by what ends their text."""
        self.bus.read()
        return [
            int(entry.entry.frame.rpartition(b"text ")[2].split(b'"')[0]) for entry in self.heard
        ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for news that the test does not bring, and a round may take its time: none of
    its rows is another node's before `make_due`."""
    for module in (publisher_module, writer_module):
        monkeypatch.setattr(module, "_IDLE_S", 0.001)
    monkeypatch.setattr(publisher_module, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(writer_module, "STORED_WITHIN_MS", 60_000)
    monkeypatch.setattr(outbox_module, "HELD", timedelta(minutes=10))


@pytest.fixture
def node(engine: Engine, make_settings: MakeSettings, redis_url: str) -> Iterator[Node]:
    node = Node(engine, make_redis(make_settings(redis_url=redis_url, redis_timeout_s=30).redis))
    yield node
    node.bus.close()


@pytest.fixture
def conversation_id(engine: Engine) -> int:
    with transaction(engine) as conn:
        return start_direct(conn, 7, 9).conversation_id


def text(number: int, conversation_id: int, cid: str = "") -> Send:
    return Send(
        sender_id=7,
        cid=cid or f"c{number}",
        conversation_id=conversation_id,
        body=f"text {number}",
    )


def count_rows(engine: Engine, table: Any = talk_outbox) -> int:
    with engine.connect() as conn:
        return conn.scalar(select(func.count()).select_from(table)) or 0


def test_messages_that_wait_are_stored_together_and_told_in_order(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    outcomes = node.send(*[text(number, conversation_id) for number in range(MOST_SENDS + 5)])
    waiting = count_rows(engine)
    node.publisher.publish()
    node.publisher.gather()

    assert [isinstance(one, Sent) and one.seq for one in outcomes] == [*range(1, MOST_SENDS + 6)]
    assert waiting == 2, "a row for each transaction"
    assert node.told() == [*range(MOST_SENDS + 5)]
    assert count_rows(engine) == 0, "and forgotten"


def test_a_message_that_is_refused_harms_no_other(node: Node, conversation_id: int) -> None:
    one, foreign, two = node.send(
        text(1, conversation_id), text(2, conversation_id + 1), text(3, conversation_id)
    )

    assert isinstance(one, Sent)
    assert isinstance(foreign, Refused)
    assert foreign.error.code == "not_a_member"
    assert isinstance(two, Sent)


def test_a_message_on_which_the_whole_transaction_fails_is_set_aside(
    node: Node, conversation_id: int
) -> None:
    def fail_on_two(conn: Any, sends: Sequence[Send]) -> Any:
        if any(send.cid == "c2" for send in sends):
            raise ZeroDivisionError
        return send_many(conn, sends)

    with mock.patch.object(writer_module, "send_many", fail_on_two):
        one, two, three = node.send(*[text(number, conversation_id) for number in (1, 2, 3)])

    assert isinstance(one, Sent)
    assert isinstance(two, Refused)
    assert isinstance(three, Sent)


def test_a_sender_that_cannot_be_answered_harms_no_other(node: Node, conversation_id: int) -> None:
    answered: list[Outcome] = []

    def fail(_outcome: Outcome) -> None:
        raise ZeroDivisionError

    node.writer.send(text(1, conversation_id), fail)
    node.writer.send(text(2, conversation_id), answered.append)
    node.writer.write()

    assert len(answered) == 1


def test_nothing_is_answered_before_it_is_stored(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    stored: list[int] = []
    node.writer.send(text(1, conversation_id), lambda _: stored.append(count_rows(engine, message)))
    node.writer.write()

    assert stored == [1]


def test_while_the_database_is_away_all_who_wait_are_told_so_at_once(
    make_settings: MakeSettings,
) -> None:
    url = "mysql+pymysql://tidings:tidings@127.0.0.1:1/none"
    writer = Writer(make_engine(make_settings(database_url=url).database))
    outcomes: list[Outcome] = []
    with mock.patch.object(writer_module, "MOST_SENDS", 1):
        for number in range(3):
            writer.send(text(number, 1), outcomes.append)
        writer.write()

    assert outcomes == [Unsent()] * 3


def test_a_line_that_is_full_takes_no_more(node: Node, conversation_id: int) -> None:
    outcomes: list[Outcome] = []
    with mock.patch.object(writer_module, "MOST_WAITING", 2):
        for number in range(3):
            node.writer.send(text(number, conversation_id), outcomes.append)
    full = list(outcomes)
    node.writer.write()

    assert full == [Unsent()]
    assert len(outcomes) == 3


def test_sent_again_after_an_answer_that_was_lost_it_is_the_same_message(
    node: Node, conversation_id: int
) -> None:
    first = node.send(text(1, conversation_id))
    again, other = node.send(text(1, conversation_id), text(2, conversation_id, "c1"))
    node.publisher.publish()

    assert again == first[0]
    assert isinstance(other, Refused)
    assert other.error.code == "cid_conflict"
    assert node.told() == [1]


def test_while_redis_is_away_messages_are_stored_and_told_in_order_when_it_is_back(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    away = mock.patch.object(node.bus, "append", side_effect=RedisConnectionError)
    with away:
        for number in (1, 2, 3):
            assert isinstance(node.send(text(number, conversation_id))[0], Sent)
            with pytest.raises(RedisError):
                node.publisher.publish()
        node.publisher.gather()
    node.publisher.publish()
    node.publisher.gather()

    assert node.told() == [1, 2, 3]
    assert count_rows(engine) == 0


def test_what_memory_cannot_hold_waits_in_the_table(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    with (
        mock.patch.object(publisher_module, "MOST_WAITING_BYTES", 300),
        mock.patch.object(node.bus, "append", side_effect=RedisConnectionError),
    ):
        for number in (1, 2, 3):
            node.send(text(number, conversation_id))
    node.publisher.publish()
    make_due(engine)
    node.publisher.gather()
    node.publisher.gather()

    assert sorted(node.told()) == [1, 2, 3]
    assert count_rows(engine) == 0


def test_what_a_program_without_redis_stored_is_told_at_once(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    with transaction(engine) as conn:
        send_many(conn, [text(1, conversation_id)])
    node.publisher.gather()

    assert node.told() == [1]


def test_what_a_node_left_that_died_after_its_commit_is_told_by_another(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    """kill -9 between the commit and Redis. While the node may still live, its rows are its own."""
    dead = telling(engine, lambda _posted: None)
    with transaction(dead) as conn:
        send_many(conn, [text(1, conversation_id)])
    node.publisher.gather()
    before = node.told()
    make_due(engine)
    node.publisher.gather()

    assert before == []
    assert node.told() == [1]


def test_a_row_that_cannot_be_read_does_not_stop_those_behind_it(
    node: Node, engine: Engine, conversation_id: int
) -> None:
    for number in (1, 2):
        with transaction(engine) as conn:
            send_many(conn, [text(number, conversation_id)])
            if number == 1:
                conn.execute(update(talk_outbox).values(entries=b"\xc1"))
    node.publisher.gather()
    node.publisher.gather()

    assert node.told() == [2]
    assert count_rows(engine) == 0


def test_a_database_that_is_away_keeps_nothing_from_the_bus(
    node: Node, conversation_id: int
) -> None:
    node.send(text(1, conversation_id))
    with mock.patch.object(
        publisher_module, "transaction", side_effect=OperationalError("", {}, ValueError())
    ):
        node.publisher.publish()
        with pytest.raises(OperationalError):
            node.publisher.gather()

    assert node.told() == [1]


def make_due(engine: Engine) -> None:
    """As if the time had passed that a row belongs to its node."""
    with transaction(engine) as conn:
        conn.execute(update(talk_outbox).values(due_at=moment(0)))
