"""`/notices`: what the caller was told, what of it is unread, and which kinds it wants to hear.

A notice belongs to an audience, which is its reader, or 0 for all operators. It carries its words
in both languages beside the code they are made from, so that a page says them without a catalogue
of its own. Rejected: the language of `Accept-Language`; a page has a switch of its own.

    curl -H "Authorization: Bearer $KEY" 'http://127.0.0.1:8001/notices?audience=0'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon
import msgspec
from sqlalchemy import Connection, Engine

from services.chat.rest.parameters import BEFORE, LIMIT, MAX_BODY_BYTES, MOST_READER_ID, Seq
from tidings.http.bodies import answer_json, read_body
from tidings.http.caller import Caller
from tidings.http.errors import InvalidRequestError, KeyNeededError, RoleTooSmallError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import IntParameter, read_parameters
from tidings.readers.keys import Role
from tidings.store.transacting import transact
from tidings.talk import marks, notices
from tidings.talk.notices import OPERATORS, ListedNotice, NoticeType
from tidings.talk.wording import FOR_OPERATORS, Texts, say

AUDIENCE = IntParameter(
    "audience",
    0,
    MOST_READER_ID,
    default=0,
    meaning="the caller's own id, which it is if absent; 0 for those of operators",
)


class NoticeShown(msgspec.Struct, frozen=True, kw_only=True):
    """A notice. `audience` and `seq` name it for ever; `times` is how often it happened, more than
    once where notices were grouped; `text` is made from `type`, `data` and `times`."""

    audience: int
    seq: int
    type: str
    subject: str
    data: dict[str, Any]
    times: int
    at: int
    is_read: bool
    text: Texts


class NoticesShown(msgspec.Struct, frozen=True):
    """Newest first; `next` asks for the page after this one as `before`; null on the last."""

    results: list[NoticeShown]
    next: int | None


class NoticesReadUpTo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest notice that was read, of the caller's own unless `audience` says 0. A mark never
    goes back, and a seq from the future is the newest."""

    seq: Seq
    audience: int | None = None


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """What a badge shows: in how many conversations something is unread, how many messages, and how
    many notices; each 0 to 100, 100 being 100 or more. `operator_notices` is null for a caller who
    is no operator."""

    conversations: int
    messages: int
    notices: int
    operator_notices: int | None


class Switch(msgspec.Struct, frozen=True):
    """A kind of notice, and whether the caller hears of it."""

    type: NoticeType
    on: bool


class SwitchesShown(msgspec.Struct, frozen=True):
    """Every kind of notice that is for the caller."""

    results: list[Switch]


class SwitchesWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The kinds of notices to hear nothing of; all others are heard again."""

    off: list[NoticeType]


class NoticesResource:
    """`GET /notices`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_READ
    operations = {
        "get": Operation("Notices", answers=NoticesShown, parameters=(LIMIT, BEFORE, AUDIENCE))
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = read_parameters(req, [LIMIT, BEFORE, AUDIENCE])
        limit, caller = asked[LIMIT.name], req.context.caller
        named = asked[AUDIENCE.name] if AUDIENCE.name in req.params else None
        audience = _check_audience(caller, named)
        with self._engine.connect() as conn:
            found = notices.find_notices(
                conn,
                caller.reader_id,
                audience=audience,
                before=asked[BEFORE.name],
                limit=limit + 1,
            )
        page = found[:limit]
        following = page[-1].notice.seq if len(found) > limit else None
        answer_json(resp, NoticesShown([_show(one) for one in page], following))


class NoticesReadResource:
    """`PUT /notices/read`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "put": Operation(
            "Say up to which notice was read; the newest seq reads all",
            body=NoticesReadUpTo,
            answers=NoticesReadUpTo,
        )
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(NoticesReadUpTo)

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        wanted = read_body(req, self._decoder, MAX_BODY_BYTES)
        caller = req.context.caller
        audience = _check_audience(caller, wanted.audience)

        def mark(conn: Connection) -> int:
            return notices.mark_notices_read(
                conn, caller.reader_id, audience=audience, seq=wanted.seq
            )

        answer_json(resp, NoticesReadUpTo(transact(self._engine, mark), audience))


class SwitchesResource:
    """`GET` and `PUT /notices/switches`."""

    needs_reader = True
    mints_reader = False
    limit_class = {"get": LimitClass.CHAT_READ, "put": LimitClass.CHAT_WRITE}
    operations = {
        "get": Operation("Which kinds of notices the caller hears of", answers=SwitchesShown),
        "put": Operation(
            "Choose which kinds of notices to hear of",
            body=SwitchesWanted,
            answers=SwitchesShown,
        ),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(SwitchesWanted)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        caller = req.context.caller
        with self._engine.connect() as conn:
            off = notices.find_switched_off(conn, caller.reader_id)
        answer_json(resp, _show_switches(caller, off))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        caller = req.context.caller
        off = frozenset(read_body(req, self._decoder, MAX_BODY_BYTES).off)
        transact(self._engine, lambda conn: notices.switch_off(conn, caller.reader_id, off))
        answer_json(resp, _show_switches(caller, off))


class UnreadResource:
    """`GET /conversations/unread`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_READ
    operations = {"get": Operation("What a badge shows", answers=Unread)}

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        caller = req.context.caller
        audiences = [caller.reader_id, *([OPERATORS] if _is_operator(caller) else [])]
        with self._engine.connect() as conn:
            talk = marks.count_unread(conn, caller.reader_id)
            told = notices.count_unread_notices(conn, caller.reader_id, audiences=audiences)
        answer_json(
            resp,
            Unread(
                conversations=talk.conversations,
                messages=talk.messages,
                notices=told[caller.reader_id],
                operator_notices=told.get(OPERATORS),
            ),
        )


def notice_routes(engine: Engine) -> dict[str, object]:
    """Path → resource, of notices, and of all that is unread."""
    return {
        "/conversations/unread": UnreadResource(engine),
        "/notices": NoticesResource(engine),
        "/notices/read": NoticesReadResource(engine),
        "/notices/switches": SwitchesResource(engine),
    }


def _is_operator(caller: Caller) -> bool:
    return caller.key is not None and caller.key.role.covers(Role.OPERATOR)


def _check_audience(caller: Caller, named: int | None) -> int:
    """The audience that is asked for, if the caller belongs to it.

    Raises:
        KeyNeededError, RoleTooSmallError: it is the operators', and the caller is none.
        InvalidRequestError: it is another reader.
    """
    assert caller.reader_id is not None
    if named is None or named == caller.reader_id:
        return caller.reader_id
    if named != OPERATORS:
        raise InvalidRequestError({AUDIENCE.name: "must be your own id, or 0"})
    if caller.key is None:
        raise KeyNeededError
    if not _is_operator(caller):
        raise RoleTooSmallError(caller.key.role, Role.OPERATOR)
    return OPERATORS


def _show(listed: ListedNotice) -> NoticeShown:
    notice = listed.notice
    return NoticeShown(
        audience=notice.audience,
        seq=notice.seq,
        type=notice.type,
        subject=notice.subject,
        data=dict(notice.data),
        times=notice.times,
        at=notice.at,
        is_read=listed.is_read,
        text=say(notice.type, notice.data, times=notice.times),
    )


def _show_switches(caller: Caller, off: frozenset[NoticeType]) -> SwitchesShown:
    heard: Sequence[NoticeType] = [
        type_ for type_ in NoticeType if _is_operator(caller) or type_ not in FOR_OPERATORS
    ]
    return SwitchesShown([Switch(type_, on=type_ not in off) for type_ in heard])
