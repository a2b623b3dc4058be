"""What the node asks the database does not keep its sockets waiting."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket
from sqlalchemy import Engine, text

from services.chat.giving_way import give_way
from tests.conftest import MakeSettings
from tidings.store.engine import make_engine, transaction

STATEMENTS = 10


@pytest.fixture
def mariadb_engine(mariadb_url: str, make_settings: MakeSettings) -> Iterator[Engine]:
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    yield engine
    engine.dispose()


def count_heard(engine: Engine) -> int:
    """Of messages that a client sends one after the other, each once the one before is answered:
    how many are heard while a transaction is under way."""
    here, there = socket.socketpair()
    heard: list[bytes] = []

    def answer() -> None:
        while data := here.recv(1):
            heard.append(data)
            here.sendall(data)

    def ask() -> None:
        while True:
            there.sendall(b"?")
            there.recv(1)

    others = [gevent.spawn(answer), gevent.spawn(ask)]
    with transaction(engine) as conn:
        for _ in range(STATEMENTS):
            conn.execute(text("SELECT 1"))
        count = len(heard)
    gevent.killall(others)
    here.close()
    there.close()
    return count


def test_sockets_are_heard_between_the_statements_of_a_transaction(mariadb_engine: Engine) -> None:
    give_way(mariadb_engine)

    assert count_heard(mariadb_engine) >= STATEMENTS // 3


def test_a_transaction_on_sqlite_is_not_interrupted(
    sqlite_url: str, make_settings: MakeSettings
) -> None:
    """It has one writer, for which all others would wait the longer."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    give_way(engine)

    assert count_heard(engine) == 0
    engine.dispose()
