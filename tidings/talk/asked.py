"""What the editors' desk was asked and has not answered: a row a question, until the answer stands.

The row is written with the message that asks, and deleted with the message that answers, so a node
that dies in between leaves a question that another one takes. The answer bears a cid made of its
question, which the key of messages lets in once: two nodes that answer at the same time store one
answer. Rejected: to answer in the transaction that asks; a recommender that is slow would keep the
conversation locked.

    engine = asking(engine, desk.ask)  # in a node: the desk hears of each question after its commit
    owe(conn, [Question(conversation_id=3, seq=12)], now=now)  # in the transaction that stores it
    forget(conn, Question(conversation_id=3, seq=12))  # in the one that stores the answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select, update

from tidings.store.engine import after_commit, database_now, transaction
from tidings.talk.holds import has_free, is_free
from tidings.talk.tables import desk_question

# So long a question belongs to the node that stored or claimed it: an answer takes five seconds at
# most, and a reader who asks twice at once waits for the first.
HELD = timedelta(seconds=15)
_ASKS = "talk_asks"


class Question(NamedTuple):
    """A message to the desk, by its place."""

    conversation_id: int
    seq: int


def asking(engine: Engine, ask: Callable[[Question], object]) -> Engine:
    """The same engine for a node of the chat, whose desk answers what the node stores.

    Args:
        ask: called once a question, after the commit that stored it; it must not wait.
    """
    return engine.execution_options(**{_ASKS: ask})


def owe(conn: Connection, questions: Sequence[Question], *, now: datetime) -> None:
    """Write down that these are to be answered, in the transaction that stores them."""
    if not questions:
        return
    ask = conn.get_execution_options().get(_ASKS)
    taken_until = now if ask is None else now + HELD
    rows = [{**question._asdict(), "taken_until": taken_until} for question in questions]
    conn.execute(insert(desk_question), rows)
    if ask is not None:
        for question in questions:
            after_commit(conn, partial(ask, question))


def claim(engine: Engine, *, limit: int) -> list[Question]:
    """Take questions that no node answers, those that wait longest first, for HELD."""
    mine = desk_question.c
    if not has_free(engine, mine.taken_until, longest=HELD):
        return []
    with transaction(engine) as conn:
        now = conn.execute(select(database_now(conn))).scalar_one()
        query = select(mine.conversation_id, mine.seq).where(
            is_free(mine.taken_until, now, longest=HELD)
        )
        rows = conn.execute(
            query.order_by(mine.taken_until).limit(limit).with_for_update(skip_locked=True)
        )
        found = [Question(*row) for row in rows]
        for question in found:  # each by its whole key, or MariaDB would lock those of other nodes
            conn.execute(update(desk_question).where(*_is(question)).values(taken_until=now + HELD))
    return found


def forget(conn: Connection, question: Question) -> None:
    """The question is owed no answer any more."""
    conn.execute(delete(desk_question).where(*_is(question)))


def is_owed(conn: Connection, question: Question) -> bool:
    """Whether a question still waits for its answer."""
    return conn.scalar(select(desk_question.c.seq).where(*_is(question))) is not None


def _is(question: Question) -> tuple[Any, ...]:
    mine = desk_question.c
    return (mine.conversation_id == question.conversation_id, mine.seq == question.seq)
