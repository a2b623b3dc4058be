"""`/conversations`: started, listed, renamed, left, muted and marked as read.

A conversation of others is answered like one that does not exist. Starting the same conversation
between two twice gives the same one, so a request that is sent again makes no second one. Rejected:
an Idempotency-Key for groups; a group too many is left by one more request, and disturbs nothing.

    curl -X POST -H "Authorization: Bearer $KEY" -H "Content-Type: application/json"
        -d '{"kind": "direct", "reader_id": 4503599627370503}' http://127.0.0.1:8001/conversations
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from sqlalchemy import Connection, Engine

from services.chat.rest.parameters import (
    CLOSED,
    CONVERSATION,
    LIMIT,
    MAX_BODY_BYTES,
    ReaderId,
    Seq,
)
from services.chat.rest.shapes import ConversationShown, show_conversation
from tidings.http.bodies import answer_json, read_body
from tidings.http.cursors import AFTER, Cursors
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_id, read_parameters, read_text
from tidings.process.clock import milliseconds, moment
from tidings.store.transacting import transact
from tidings.talk import conversations, joining, marks
from tidings.talk.conversations import MOST_TITLE, ShownConversation
from tidings.talk.members import MOST_MEMBERS

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TITLE)]


class DirectWanted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="direct"
):
    """A conversation with one reader."""

    reader_id: ReaderId


class GroupWanted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="group"
):
    """A conversation with several, which the caller owns."""

    title: Title
    reader_ids: Annotated[list[ReaderId], msgspec.Meta(max_length=MOST_MEMBERS)]


class DeskWanted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="desk"
):
    """The caller's conversation with the editor's desk, which answers by itself."""


Wanted = DirectWanted | GroupWanted | DeskWanted


class Renamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new title of a group."""

    title: Title


class ReadUpTo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest message that was read. A mark never goes back."""

    seq: Seq


class ConversationsShown(msgspec.Struct, frozen=True):
    """The one that was written in last comes first; `next` asks for the page after this one as
    `after`; null on the last. A conversation between two is listed once something was written."""

    results: list[ConversationShown]
    next: str | None


class ConversationsResource:
    """`GET` and `POST /conversations`."""

    needs_reader = True
    mints_reader = False
    limit_class = {"get": LimitClass.CHAT_READ, "post": LimitClass.CHAT_WRITE}
    operations = {
        "get": Operation(
            "The caller's conversations",
            answers=ConversationsShown,
            parameters=(LIMIT, AFTER),
        ),
        "post": Operation(
            "Start a conversation; between two, the one that there is already is answered",
            body=Wanted,
            answers=ConversationShown,
            status=HTTPStatus.CREATED,
            links={
                name: {"conversation_id": "$response.body#/conversation_id"}
                for name in (
                    "get_conversation",
                    "get_conversation_messages",
                    "post_conversation_messages",
                    "get_conversation_members",
                    "put_conversation_mute",
                )
            },
        ),
    }

    def __init__(self, engine: Engine, cursors: Cursors) -> None:
        self._engine = engine
        self._cursors = cursors
        self._decoder = msgspec.json.Decoder(Wanted)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
        reader_id = req.context.reader_id
        place = self._cursors.read("conversations", reader_id, read_text(req, AFTER))
        with self._engine.connect() as conn:
            found = conversations.find_conversations(
                conn,
                reader_id,
                before=place and (moment(place[0]), place[2]),
                limit=limit + 1,
            )
        page, following = self._cursors.cut(
            "conversations",
            reader_id,
            found,
            limit=limit,
            place=lambda last: (milliseconds(last.changed_at), 0, last.conversation_id),
        )
        answer_json(resp, ConversationsShown([show_conversation(one) for one in page], following))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        wanted = read_body(req, self._decoder, MAX_BODY_BYTES)
        made = transact(self._engine, lambda conn: _start(conn, req.context.reader_id, wanted))
        resp.location = f"/conversations/{made.conversation_id}"
        answer_json(resp, show_conversation(made), HTTPStatus.CREATED)


class ConversationResource:
    """`GET`, `PATCH` and `DELETE /conversations/{conversation_id}`."""

    needs_reader = True
    mints_reader = False
    limit_class = {
        "get": LimitClass.CHAT_READ,
        "patch": LimitClass.CHAT_WRITE,
        "delete": LimitClass.CHAT_WRITE,
    }
    operations = {
        "get": Operation(
            "One of the caller's conversations",
            answers=ConversationShown,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
        "patch": Operation(
            "Rename a group, as its owner",
            body=Renamed,
            answers=ConversationShown,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
        "delete": Operation(
            "Leave a group, or empty a conversation between two for oneself",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(Renamed)

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        with self._engine.connect() as conn:
            found = conversations.read_conversation(conn, req.context.reader_id, id_)
        answer_json(resp, show_conversation(found))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        title = read_body(req, self._decoder, MAX_BODY_BYTES).title
        reader_id = req.context.reader_id

        def rename(conn: Connection) -> ShownConversation:
            conversations.rename(conn, reader_id, id_, title=title)
            return conversations.read_conversation(conn, reader_id, id_)

        answer_json(resp, show_conversation(transact(self._engine, rename)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        transact(self._engine, lambda conn: joining.leave(conn, req.context.reader_id, id_))
        resp.status = int(HTTPStatus.NO_CONTENT)


class MuteResource:
    """`PUT` and `DELETE /conversations/{conversation_id}/mute`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "put": Operation(
            "Leave a conversation out of what is told as unread",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
        "delete": Operation(
            "Tell what is unread in a conversation again",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_put(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        transact(self._engine, lambda conn: conversations.mute(conn, req.context.reader_id, id_))
        resp.status = int(HTTPStatus.NO_CONTENT)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        transact(self._engine, lambda conn: conversations.unmute(conn, req.context.reader_id, id_))
        resp.status = int(HTTPStatus.NO_CONTENT)


class ReadResource:
    """`PUT /conversations/{conversation_id}/read`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "put": Operation(
            "Say up to which message a conversation was read",
            body=ReadUpTo,
            answers=ReadUpTo,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        )
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(ReadUpTo)

    def on_put(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        seq = read_body(req, self._decoder, MAX_BODY_BYTES).seq
        reader_id = req.context.reader_id
        mark = transact(self._engine, lambda conn: marks.mark_read(conn, reader_id, id_, seq=seq))
        answer_json(resp, ReadUpTo(mark))


def conversation_routes(engine: Engine, cursors: Cursors) -> dict[str, object]:
    """Path → resource, of conversations as wholes."""
    return {
        "/conversations": ConversationsResource(engine, cursors),
        "/conversations/{conversation_id}": ConversationResource(engine),
        "/conversations/{conversation_id}/mute": MuteResource(engine),
        "/conversations/{conversation_id}/read": ReadResource(engine),
    }


def _start(conn: Connection, reader_id: int, wanted: Wanted) -> ShownConversation:
    if isinstance(wanted, DirectWanted):
        return conversations.start_direct(conn, reader_id, wanted.reader_id)
    if isinstance(wanted, DeskWanted):
        return conversations.start_desk(conn, reader_id)
    return conversations.start_group(
        conn, reader_id, title=wanted.title, member_ids=wanted.reader_ids
    )
