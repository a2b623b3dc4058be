"""The desk's side of a conversation: reading a question, and storing its answer once.

An answer is a message like any other, sent by the desk under a cid that is made of the question.
Rejected: a table of answers; a page would have to put two histories together.

    said = read_asked(conn, question, earlier=20)
    answer(conn, question, "New for you: …")
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from tidings.talk.asked import Question, forget, is_owed
from tidings.talk.members import DESK_ID
from tidings.talk.sending import Send, send_many
from tidings.talk.tables import message


class Said(NamedTuple):
    """A message of a conversation with the desk; its body is empty where it was deleted."""

    sender_id: int
    body: str


def read_asked(conn: Connection, question: Question, *, earlier: int) -> list[Said]:
    """A question and up to so many messages before it, newest first; empty if it was answered."""
    if not is_owed(conn, question):
        return []
    query = select(message.c.sender_id, message.c.body).where(
        message.c.conversation_id == question.conversation_id, message.c.seq <= question.seq
    )
    rows = conn.execute(query.order_by(message.c.seq.desc()).limit(earlier + 1))
    return [Said(*row) for row in rows]


def answer(conn: Connection, question: Question, body: str) -> None:
    """Store the desk's answer, and forget the question. One that was answered before, or whose
    reader has gone, is only forgotten. Run it by `transact`."""
    send = Send(
        sender_id=DESK_ID,
        cid=f"re:{question.conversation_id}:{question.seq}",
        conversation_id=question.conversation_id,
        body=body,
    )
    send_many(conn, [send])
    forget(conn, question)
