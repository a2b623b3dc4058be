"""`/operator/audit`: who changed what, the newest first.

Editors see what was done to articles, channels and pictures; operators see all of it, also sources
and the demo. Rejected: a log for each noun; who was at work last night is one question.

    curl -H "Authorization: Bearer $KEY" 'http://127.0.0.1:8000/operator/audit?noun=article&id=42'
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import falcon
import msgspec

from gateway.resources.editing.desk import READ_PROBLEMS, Desk, actor_of
from tidings.editing import audit
from tidings.http.bodies import answer_json
from tidings.http.cursors import AFTER, LIMIT
from tidings.http.errors import RoleTooSmallError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import (
    MAX_ID,
    IntParameter,
    TextParameter,
    read_choice,
    read_parameters,
    read_text,
)
from tidings.process.clock import milliseconds
from tidings.readers.keys import Role

EDITORS_NOUNS = ("article", "channel", "image")
NOUNS = (*EDITORS_NOUNS, "source", "demo")
NOUN = TextParameter("noun", 16, f"only what was done to one of these: {', '.join(NOUNS)}")
ACTOR = TextParameter("actor", 128, "only what this one did: key:NAME, shell:USER or job:NAME")
ID = IntParameter("id", 0, MAX_ID, 0, "only what was done to the one of this number; 0 is any")


class EntryShown(msgspec.Struct, frozen=True):
    """What was done; `before` and `after` have the fields that it changed. `request_id` finds it in
    the logs."""

    entry_id: int
    at: int
    actor: str
    reader_id: int | None
    verb: str
    noun: str
    noun_id: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


class Entries(msgspec.Struct, frozen=True):
    """Newest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[EntryShown]
    next: str | None


class AuditResource:
    """`GET /operator/audit`."""

    needs_role = {"get": Role.EDITOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Who changed what, the newest first: to editors of articles, channels and pictures, to "
            "operators of everything",
            answers=Entries,
            parameters=(LIMIT, ID, AFTER, NOUN, ACTOR),
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = read_parameters(req, [LIMIT, ID], texts=[AFTER, NOUN, ACTOR])
        limit, reader_id = asked[LIMIT.name], req.context.reader_id
        nouns = _nouns(read_choice(req, NOUN, NOUNS), actor_of(req).role)
        place = self._desk.cursors.read("audit", reader_id, read_text(req, AFTER))
        with self._desk.engine.connect() as conn:
            found = audit.find_entries(
                conn,
                limit=limit + 1,
                nouns=nouns,
                noun_id=asked[ID.name] or None,
                actor=read_text(req, ACTOR) or None,
                before_id=place[2] if place else None,
            )
        page, following = self._desk.cursors.cut(
            "audit", reader_id, found, limit=limit, place=lambda last: (0, 0, last.entry_id)
        )
        shown = [EntryShown(**entry._asdict() | {"at": milliseconds(entry.at)}) for entry in page]
        answer_json(resp, Entries(shown, following))


def _nouns(noun: str, role: Role) -> Collection[str] | None:
    """The nouns that are asked for and that this role may see; None for all."""
    sees_all = role.covers(Role.OPERATOR)
    if noun and noun not in EDITORS_NOUNS and not sees_all:
        raise RoleTooSmallError(role, Role.OPERATOR)
    if noun:
        return [noun]
    return None if sees_all else EDITORS_NOUNS
