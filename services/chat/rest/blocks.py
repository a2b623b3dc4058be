"""`/reader/blocks`: whom the caller wants to hear nothing of.

A block is told to no other, and may name a reader with whom there is no conversation. Rejected: a
list of names in one request; two tabs would take each other's changes back.

    curl -X PUT -H "X-Reader: $READER" http://127.0.0.1:8001/reader/blocks/4503599627370503
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec
from sqlalchemy import Engine

from services.chat.rest.parameters import LIMIT
from tidings.http.bodies import answer_json
from tidings.http.cursors import AFTER, Cursors
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_id, read_parameters, read_text
from tidings.process.clock import milliseconds
from tidings.store.transacting import transact
from tidings.talk import blocks


class BlockShown(msgspec.Struct, frozen=True):
    """A reader whom the caller blocks, and since when."""

    reader_id: int
    at: int


class BlocksShown(msgspec.Struct, frozen=True):
    """By their ids; `next` asks for the page after this one as `after`; null on the last."""

    results: list[BlockShown]
    next: str | None


class BlocksResource:
    """`GET /reader/blocks`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_READ
    operations = {
        "get": Operation("Whom the caller blocks", answers=BlocksShown, parameters=(LIMIT, AFTER))
    }

    def __init__(self, engine: Engine, cursors: Cursors) -> None:
        self._engine = engine
        self._cursors = cursors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
        reader_id = req.context.reader_id
        place = self._cursors.read("blocks", reader_id, read_text(req, AFTER))
        with self._engine.connect() as conn:
            found = blocks.find_blocks(
                conn, reader_id, after_id=place[2] if place else 0, limit=limit + 1
            )
        page, following = self._cursors.cut(
            "blocks",
            reader_id,
            found,
            limit=limit,
            place=lambda last: (0, 0, last.reader_id),
        )
        shown = [BlockShown(one.reader_id, milliseconds(one.at)) for one in page]
        answer_json(resp, BlocksShown(shown, following))


class BlockResource:
    """`PUT` and `DELETE /reader/blocks/{blocked_id}`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_WRITE
    operations = {
        "put": Operation(
            "Block a reader: between two nothing is sent any more, in groups the texts are hidden",
            status=HTTPStatus.NO_CONTENT,
            path_parameters={"blocked_id": "whom to block"},
        ),
        "delete": Operation(
            "Take a block back",
            status=HTTPStatus.NO_CONTENT,
            path_parameters={"blocked_id": "who is blocked"},
        ),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_put(self, req: falcon.Request, resp: falcon.Response, blocked_id: str) -> None:
        read_parameters(req)
        number = read_id("blocked_id", blocked_id)
        mine = req.context.reader_id
        transact(self._engine, lambda conn: blocks.block(conn, mine, number))
        resp.status = int(HTTPStatus.NO_CONTENT)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, blocked_id: str) -> None:
        read_parameters(req)
        number = read_id("blocked_id", blocked_id)
        mine = req.context.reader_id
        transact(self._engine, lambda conn: blocks.unblock(conn, mine, number))
        resp.status = int(HTTPStatus.NO_CONTENT)


def block_routes(engine: Engine, cursors: Cursors) -> dict[str, object]:
    """Path → resource, of blocks."""
    return {
        "/reader/blocks": BlocksResource(engine, cursors),
        "/reader/blocks/{blocked_id}": BlockResource(engine),
    }
