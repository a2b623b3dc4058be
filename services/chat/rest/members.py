"""`/conversations/{conversation_id}/members`: who is in a conversation, and who of them is here.

A reader who blocks the caller, or whom the caller blocks, is never told as here. Rejected: the same
in the list of conversations; presence changes by the second, and that list is kept by pages.

    curl -H "X-Reader: $READER" http://127.0.0.1:8001/conversations/3/members
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
import structlog
from redis import RedisError
from sqlalchemy import Connection, Engine

from services.chat.rest.parameters import CLOSED, CONVERSATION, MAX_BODY_BYTES, ReaderId
from tidings.http.bodies import answer_json, read_body
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_id, read_parameters
from tidings.process.clock import milliseconds
from tidings.store.transacting import transact
from tidings.talk import blocks, joining
from tidings.talk.members import MOST_MEMBERS, find_members

log = structlog.get_logger(__name__)
Present = Callable[[Collection[int]], Collection[int]]


class MemberShown(msgspec.Struct, frozen=True, kw_only=True):
    """A member; `role` is `owner` or `member`, `read_seq` up to where it has read, and `here` says
    whether it is connected now, null where that is not known just now."""

    reader_id: int
    role: str
    read_seq: int
    joined_at: int
    here: bool | None


class MembersShown(msgspec.Struct, frozen=True):
    """All members, by their ids."""

    results: list[MemberShown]


class MembersWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readers to be taken into a group; they see what is written from then on."""

    reader_ids: Annotated[list[ReaderId], msgspec.Meta(min_length=1, max_length=MOST_MEMBERS)]


class MembersResource:
    """`GET` and `POST /conversations/{conversation_id}/members`.

    Args:
        present: which of these readers are connected to a node; raises RedisError where that is
            not known.
    """

    needs_reader = True
    mints_reader = False
    limit_class = {"get": LimitClass.CHAT_READ, "post": LimitClass.CHAT_WRITE}
    operations = {
        "get": Operation(
            "Who is in a conversation",
            answers=MembersShown,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
        "post": Operation(
            "Take readers into a group, as its owner",
            body=MembersWanted,
            status=HTTPStatus.NO_CONTENT,
            path_parameters=CONVERSATION,
            problems=CLOSED,
        ),
    }

    def __init__(self, engine: Engine, present: Present) -> None:
        self._engine = engine
        self._present = present
        self._decoder = msgspec.json.Decoder(MembersWanted)

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        reader_id = req.context.reader_id
        with self._engine.connect() as conn:
            found = find_members(conn, reader_id, id_)
            ids = {member.reader_id for member in found}
            apart = blocks.find_blocked_between(conn, reader_id, ids)
        here = self._find_here(ids - apart)
        shown = [
            MemberShown(
                reader_id=member.reader_id,
                role=member.role,
                read_seq=member.read_seq,
                joined_at=milliseconds(member.joined_at),
                here=None if here is None else member.reader_id in here,
            )
            for member in found
        ]
        answer_json(resp, MembersShown(shown))

    def _find_here(self, ids: Collection[int]) -> Collection[int] | None:
        try:
            return self._present(ids)
        except RedisError as ex:  # who is in a conversation stands in SQL, and is told all the same
            log.warning("presence_not_known", error=repr(ex))
            return None

    def on_post(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        read_parameters(req)
        id_ = read_id("conversation_id", conversation_id)
        ids = read_body(req, self._decoder, MAX_BODY_BYTES).reader_ids
        reader_id = req.context.reader_id

        def add(conn: Connection) -> None:
            joining.add_members(conn, reader_id, id_, member_ids=ids)

        transact(self._engine, add)
        resp.status = int(HTTPStatus.NO_CONTENT)


class MemberResource:
    """`DELETE /conversations/{conversation_id}/members/{member_id}`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "delete": Operation(
            "Take a member out of a group, as its owner; oneself is to leave it",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=CONVERSATION | {"member_id": "a member's reader id"},
            problems=CLOSED,
        )
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, member_id: str
    ) -> None:
        read_parameters(req)
        id_, number = read_id("conversation_id", conversation_id), read_id("member_id", member_id)
        by = req.context.reader_id
        transact(
            self._engine,
            lambda conn: joining.remove_member(conn, by, id_, member_id=number),
        )
        resp.status = int(HTTPStatus.NO_CONTENT)


def member_routes(engine: Engine, present: Present) -> dict[str, object]:
    """Path → resource, of members."""
    members = "/conversations/{conversation_id}/members"
    return {
        members: MembersResource(engine, present),
        f"{members}/{{member_id}}": MemberResource(engine),
    }
