"""`/conversations/{conversation_id}/messages`: read page by page, written, edited, deleted and
reported.

Writing goes through the same writer as frames of sockets do, so that both keep one order, and the
answer comes after the commit. The sender's own name of a message, its `cid`, makes a request that
is sent again the same message. Rejected: a header for it; a socket has none, and a page that falls
back to HTTP repeats what it said over the socket.

    curl -X POST -H "X-Reader: $READER" -H "Content-Type: application/json"
        -d '{"cid": "0b1c…", "body": "Hello"}' http://127.0.0.1:8001/conversations/3/messages
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from sqlalchemy import Connection, Engine

from services.chat.rest.parameters import (
    BEFORE,
    CLOSED,
    CONVERSATION,
    LIMIT,
    MAX_BODY_BYTES,
    MESSAGE,
)
from services.chat.rest.shapes import MessageShown, show_message
from tidings.http.bodies import answer_json, read_body
from tidings.http.errors import InvalidRequestError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import MAX_ID, IntParameter, read_id, read_parameters
from tidings.process.clock import milliseconds
from tidings.store.transacting import transact
from tidings.talk import history, reports
from tidings.talk.reports import MOST_REASON
from tidings.talk.sending import MOST_BODY_BYTES, MOST_CID, Refused, Send, Sent

SINCE = IntParameter("after", 0, MAX_ID, default=0, meaning="those above it, oldest first")
# The bound is one of bytes, which a schema cannot say: one that is too long is told as such.
Body = Annotated[
    str, msgspec.Meta(min_length=1, description=f"at most {MOST_BODY_BYTES} bytes of UTF-8")
]
Cid = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_CID, pattern="^[ -~]*[!-~]$")]


class MessageWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message, and the sender's own name for it: random, as a UUID, and the same one when it is
    sent again."""

    cid: Cid
    body: Body


class TextWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new text of a message."""

    body: Body


class ReportWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a message, in the caller's words."""

    reason: Annotated[str, msgspec.Meta(max_length=MOST_REASON)] = ""


class MessageStored(msgspec.Struct, frozen=True):
    """A message that is stored, now or when its `cid` was sent before."""

    cid: str
    conversation_id: int
    seq: int
    at: int


class MessageEdited(msgspec.Struct, frozen=True):
    """A message with its new text."""

    conversation_id: int
    seq: int
    body: str
    edited_at: int


class MessagesShown(msgspec.Struct, frozen=True):
    """Newest first, or oldest first above `after`; `next` asks for the page after this one as the
    same parameter; null on the last."""

    results: list[MessageShown]
    next: int | None


class MessagesResource:
    """`GET` and `POST /conversations/{conversation_id}/messages`.

    Args:
        send: stores a message and says what became of it; raises OverloadedError where that cannot
            be done now.
    """

    needs_reader = True
    mints_reader = False
    limit_class = {"get": LimitClass.CHAT_READ, "post": LimitClass.CHAT_WRITE}
    operations = {
        "get": Operation(
            "Messages of a conversation",
            answers=MessagesShown,
            path_parameters=CONVERSATION,
            parameters=(LIMIT, BEFORE, SINCE),
            problems=CLOSED,
        ),
        "post": Operation(
            "Write a message; answered once it is stored",
            body=MessageWanted,
            answers=MessageStored,
            status=HTTPStatus.CREATED,
            path_parameters=CONVERSATION,
            problems=(*CLOSED, HTTPStatus.CONFLICT),
            links={
                name: {
                    "conversation_id": "$response.body#/conversation_id",
                    "seq": "$response.body#/seq",
                }
                for name in ("patch_conversation_messages_seq", "delete_conversation_messages_seq")
            },
        ),
    }

    def __init__(self, engine: Engine, send: Callable[[Send], Sent | Refused]) -> None:
        self._engine = engine
        self._send = send
        self._decoder = msgspec.json.Decoder(MessageWanted)

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        asked = read_parameters(req, [LIMIT, BEFORE, SINCE])
        id_ = read_id("conversation_id", conversation_id)
        fills_gap = SINCE.name in req.params
        if fills_gap and BEFORE.name in req.params:
            raise InvalidRequestError({SINCE.name: f"cannot be given beside {BEFORE.name}"})
        limit = asked[LIMIT.name]
        place = {"after": asked[SINCE.name]} if fills_gap else {"before": asked[BEFORE.name]}
        with self._engine.connect() as conn:
            found = history.find_messages(
                conn, req.context.reader_id, id_, limit=limit + 1, **place
            )
        page = found[:limit]
        following = page[-1].seq if len(found) > limit else None
        answer_json(resp, MessagesShown([show_message(one) for one in page], following))

    def on_post(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        wanted = read_body(req, self._decoder, MAX_BODY_BYTES)
        outcome = self._send(
            Send(
                sender_id=req.context.reader_id,
                cid=wanted.cid,
                conversation_id=id_,
                body=wanted.body,
            )
        )
        if isinstance(outcome, Refused):
            raise outcome.error
        resp.location = f"/conversations/{id_}/messages?after={outcome.seq - 1}&limit=1"
        stored = MessageStored(
            cid=outcome.cid, conversation_id=id_, seq=outcome.seq, at=milliseconds(outcome.at)
        )
        answer_json(resp, stored, HTTPStatus.CREATED)


class MessageResource:
    """`PATCH` and `DELETE /conversations/{conversation_id}/messages/{seq}`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "patch": Operation(
            "Give one's own message another text, within five minutes",
            body=TextWanted,
            answers=MessageEdited,
            path_parameters=MESSAGE,
            problems=(*CLOSED, HTTPStatus.CONFLICT),
        ),
        "delete": Operation(
            "Take the text from one's own message; its seq stays",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=MESSAGE,
            problems=CLOSED,
        ),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(TextWanted)

    def on_patch(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, seq: str
    ) -> None:
        read_parameters(req)
        id_, number = read_id("conversation_id", conversation_id), read_id("seq", seq)
        body = read_body(req, self._decoder, MAX_BODY_BYTES).body
        reader_id = req.context.reader_id

        def edit(conn: Connection) -> history.Edited:
            return history.edit(conn, reader_id, id_, seq=number, body=body)

        edited = transact(self._engine, edit)
        answer_json(resp, MessageEdited(id_, number, edited.body, milliseconds(edited.edited_at)))

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, seq: str
    ) -> None:
        read_parameters(req)
        id_, number = read_id("conversation_id", conversation_id), read_id("seq", seq)
        reader_id = req.context.reader_id
        transact(self._engine, lambda conn: history.delete(conn, reader_id, id_, seq=number))
        resp.status = int(HTTPStatus.NO_CONTENT)


class ReportsResource:
    """`POST /conversations/{conversation_id}/messages/{seq}/reports`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "post": Operation(
            "Report a message to the operators; to report it again changes nothing",
            body=ReportWanted,
            status=HTTPStatus.NO_CONTENT,
            path_parameters=MESSAGE,
            problems=CLOSED,
        )
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(ReportWanted)

    def on_post(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, seq: str
    ) -> None:
        read_parameters(req)
        id_, number = read_id("conversation_id", conversation_id), read_id("seq", seq)
        reason = read_body(req, self._decoder, MAX_BODY_BYTES).reason
        reader_id = req.context.reader_id
        transact(
            self._engine,
            lambda conn: reports.report(conn, reader_id, id_, seq=number, reason=reason),
        )
        resp.status = int(HTTPStatus.NO_CONTENT)


def message_routes(engine: Engine, send: Callable[[Send], Sent | Refused]) -> dict[str, object]:
    """Path → resource, of messages."""
    messages = "/conversations/{conversation_id}/messages"
    return {
        messages: MessagesResource(engine, send),
        f"{messages}/{{seq}}": MessageResource(engine),
        f"{messages}/{{seq}}/reports": ReportsResource(engine),
    }
