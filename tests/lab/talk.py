"""Readers who talk, on a database of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Engine, event

from tidings.store.transacting import transact
from tidings.talk.conversations import start_direct, start_group
from tidings.talk.outbox import Posted, telling
from tidings.talk.sending import Refused, Send, Sent, send_many

T = TypeVar("T")


class Talk:
    """What a node of the chat does with the database, one call a transaction. What it would put
    onto the bus is in `told`."""

    def __init__(self, engine: Engine) -> None:
        self.told: list[Posted] = []
        self.engine = telling(engine, self.told.append)

    def do(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        return transact(self.engine, lambda conn: work(conn, *args, **named))

    def ask(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        with self.engine.connect() as conn:
            return work(conn, *args, **named)

    def direct(self, one: int, other: int) -> int:
        return self.do(start_direct, one, other).conversation_id

    def group(self, owner: int, *others: int, title: str = "Friday") -> int:
        return self.do(start_group, owner, title=title, member_ids=others).conversation_id

    def try_say(
        self, sender_id: int, conversation_id: int, body: str = "hello", *, cid: str = ""
    ) -> Sent | Refused:
        send = Send(
            sender_id=sender_id,
            cid=cid or str(uuid4()),
            conversation_id=conversation_id,
            body=body,
        )
        return self.do(send_many, [send])[0]

    def say(
        self, sender_id: int, conversation_id: int, body: str = "hello", *, cid: str = ""
    ) -> Sent:
        said = self.try_say(sender_id, conversation_id, body, cid=cid)
        assert isinstance(said, Sent), said
        return said

    @property
    def entries(self) -> list[Any]:
        return [entry for posted in self.told for entry in posted.entries]


@contextmanager
def counted_statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that are executed meanwhile, of the driver's own the text alone, without
    those that prepare a new connection."""
    seen: list[str] = []

    def see(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA"):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)
