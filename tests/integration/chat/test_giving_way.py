"""What the node asks the database does not keep its sockets waiting."""

from __future__ import annotations

import gevent
from gevent import socket
from sqlalchemy import Engine, text

from services.chat.giving_way import give_way
from tidings.store.engine import transaction

STATEMENTS = 10


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


def test_sockets_are_heard_between_the_statements_of_a_transaction(engine: Engine) -> None:
    """But for SQLite: it has one writer, for which all others would wait the longer."""
    give_way(engine)

    heard = count_heard(engine)

    assert heard == 0 if engine.dialect.name == "sqlite" else heard >= STATEMENTS // 3
