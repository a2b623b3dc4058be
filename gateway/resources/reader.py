"""`/reader`: who the gateway takes the caller for.

A program learns here whether its key is good, and under which id it reads; a page learns the same
of its reader, whose cookie it cannot read by itself.

    curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8000/reader
"""

from __future__ import annotations

from enum import Enum

import falcon
import msgspec

from tidings.http.bodies import answer_json
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.readers.keys import Role


class ReaderKind(Enum):
    """How a reader is told."""

    ANONYMOUS = "anonymous"
    KEY = "key"


class ReaderShown(msgspec.Struct, frozen=True):
    """Who calls; name and role are those of its key."""

    reader_id: int
    kind: ReaderKind
    name: str | None
    role: Role | None


class ReaderResource:
    """`GET /reader`."""

    needs_reader = True
    limit_class = LimitClass.FEED
    operations = {"get": Operation("Who the gateway takes the caller for", answers=ReaderShown)}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        caller = req.context.caller
        kind = ReaderKind.ANONYMOUS if caller.key is None else ReaderKind.KEY
        name, role = (None, None) if caller.key is None else (caller.key.name, caller.key.role)
        answer_json(resp, ReaderShown(caller.reader_id, kind, name=name, role=role))
