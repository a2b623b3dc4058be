"""`/sources`: who delivers articles, when each is asked again, and what came of it.

For operators alone, since a source decides what the whole site shows. `POST /sources/check` looks
at an address and stores nothing. Rejected: a verb that asks a source now; the job does that within
a minute, with as much time as it takes.

    curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8000/sources/3/runs
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from gateway.resources.editing.desk import CHANGE_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS, Desk
from gateway.resources.editing.records import read_ms
from tidings.editing import sources as verbs
from tidings.editing.fields import ChannelId
from tidings.editing.records import digest
from tidings.http.bodies import answer_json, read_body
from tidings.http.cursors import AFTER, LIMIT
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import TextParameter, read_choice, read_id, read_parameters, read_text
from tidings.http.preconditions import IF_MATCH, answer_record, read_if_match
from tidings.process.clock import milliseconds
from tidings.readers.keys import Role
from tidings.sources import records
from tidings.sources.records import STATES, Source
from tidings.sources.registry import EVERY_S, LONGEST_S, MOST_ADDRESS, SHORTEST_S

ID = {"source_id": "from GET /sources"}
STATE = TextParameter("state", 16, f"only those of one state: {', '.join(STATES)}")


class NewSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feed to follow: where it is, the channel of its articles (null for the one that its own
    title names), and how many seconds are between two looks."""

    address: Annotated[str, Meta(min_length=1, max_length=MOST_ADDRESS)]
    channel_id: ChannelId | None = None
    every_s: Annotated[int, Meta(ge=SHORTEST_S, le=LONGEST_S)] = EVERY_S


class SourceShown(msgspec.Struct, frozen=True):
    """Who delivers articles. `due_at` is the next look, after so many `failures` in a row;
    `moved_to` is where it says lately that it stands for good. Moments are ms since 1970."""

    source_id: int
    kind: str
    address: str | None
    title: str
    channel_id: int | None
    added_by: str
    state: str
    every_s: int
    due_at: int | None
    failures: int
    moved_to: str | None
    created_at: int


class SourcesShown(msgspec.Struct, frozen=True):
    """The oldest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[SourceShown]
    next: str | None


class RunShown(msgspec.Struct, frozen=True):
    """One look at a source: the rows by what became of them, why it failed, and why the first rows
    were refused."""

    run_id: int
    at: int
    outcome: str
    took_ms: int
    created: int
    updated: int
    unchanged: int
    refused: int
    error: str | None
    reasons: list[str]


class RunsShown(msgspec.Struct, frozen=True):
    """Newest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[RunShown]
    next: str | None


class SourcesResource:
    """`/sources`."""

    needs_role = {"get": Role.OPERATOR, "post": Role.OPERATOR}
    limit_class = {"get": LimitClass.FEED, "post": LimitClass.WRITE}
    operations = {
        "get": Operation(
            "Who delivers articles, how each is doing, and when it is asked again",
            answers=SourcesShown,
            parameters=(LIMIT, AFTER, STATE),
            problems=READ_PROBLEMS,
        ),
        "post": Operation(
            "Follow a feed, or every feed of a list in OPML; one that is followed stays as it is",
            body=NewSource,
            answers=SourceShown,
            status=HTTPStatus.CREATED,
            problems=WRITE_PROBLEMS,
            is_record=True,
        ),
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoder = msgspec.json.Decoder(NewSource)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER, STATE])[LIMIT.name]
        state, reader_id = read_choice(req, STATE, STATES), req.context.reader_id
        place = self._desk.cursors.read("sources", reader_id, read_text(req, AFTER))
        with self._desk.engine.connect() as conn:
            found = records.find_sources(
                conn, limit=limit + 1, after=place[2] if place else 0, state=state or None
            )
        page, following = self._desk.cursors.cut(
            "sources", reader_id, found, limit=limit, place=lambda last: (0, 0, last.source_id)
        )
        answer_json(resp, SourcesShown([show_source(source) for source in page], following))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        wanted = read_body(req, self._decoder, self._desk.max_body_bytes)
        source = self._desk.change(
            req,
            lambda act: verbs.add(
                act, wanted.address, channel_id=wanted.channel_id, every_s=wanted.every_s
            ),
        )
        resp.location = f"/sources/{source.source_id}"
        answer_source(resp, source, HTTPStatus.CREATED)


class SourceResource:
    """`/sources/{source_id}`."""

    needs_role = dict.fromkeys(("get", "patch", "delete"), Role.OPERATOR)
    limit_class = {
        "get": LimitClass.FEED,
        "patch": LimitClass.WRITE,
        "delete": LimitClass.WRITE,
    }
    operations = {
        "get": Operation(
            "One source; its ETag is what a write has to bring back",
            answers=SourceShown,
            path_parameters=ID,
            problems=READ_PROBLEMS,
            is_record=True,
        ),
        "patch": Operation(
            "Change a source, pause or resume it; what is left out stays",
            body=verbs.Changes,
            answers=SourceShown,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
            is_record=True,
        ),
        "delete": Operation(
            "Ask a source no more; its articles stay",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
        ),
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoder = msgspec.json.Decoder(verbs.Changes)

    def on_get(self, req: falcon.Request, resp: falcon.Response, source_id: str) -> None:
        read_parameters(req)
        with self._desk.engine.connect() as conn:
            source = records.read_source(conn, read_id("source_id", source_id))
        answer_source(resp, source)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, source_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("source_id", source_id), read_if_match(req)
        changes = read_body(req, self._decoder, self._desk.max_body_bytes)
        source = self._desk.change(req, lambda act: verbs.change(act, id_, changes, seen=seen))
        answer_source(resp, source)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, source_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("source_id", source_id), read_if_match(req)
        self._desk.change(req, lambda act: verbs.remove(act, id_, seen=seen))
        resp.status = int(HTTPStatus.NO_CONTENT)


class RunsResource:
    """`GET /sources/{source_id}/runs`."""

    needs_role = {"get": Role.OPERATOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "What came each time a source was asked, the newest first",
            answers=RunsShown,
            parameters=(LIMIT, AFTER),
            path_parameters=ID,
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response, source_id: str) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
        id_, reader_id = read_id("source_id", source_id), req.context.reader_id
        name = f"runs:{id_}"
        place = self._desk.cursors.read(name, reader_id, read_text(req, AFTER))
        with self._desk.engine.connect() as conn:
            records.read_source(conn, id_)
            found = records.find_runs(
                conn, id_, limit=limit + 1, before=place[2] if place else None
            )
        page, following = self._desk.cursors.cut(
            name, reader_id, found, limit=limit, place=lambda last: (0, 0, last.run_id)
        )
        shown = [
            RunShown(
                run_id=run.run_id,
                at=milliseconds(run.at),
                outcome=run.outcome,
                took_ms=run.took_ms,
                created=run.created,
                updated=run.updated,
                unchanged=run.unchanged,
                refused=run.refused,
                error=run.error,
                reasons=list(run.reasons),
            )
            for run in page
        ]
        answer_json(resp, RunsShown(shown, following))


def show_source(source: Source) -> SourceShown:
    """A source as it is sent."""
    return SourceShown(
        source_id=source.source_id,
        kind=source.kind,
        address=source.address,
        title=source.title,
        channel_id=source.channel_id,
        added_by=source.added_by,
        state=source.state,
        every_s=source.every_s,
        due_at=read_ms(source.due_at),
        failures=source.failures,
        moved_to=source.moved_to,
        created_at=milliseconds(source.created_at),
    )


def answer_source(
    resp: falcon.Response, source: Source, status: HTTPStatus = HTTPStatus.OK
) -> None:
    """Answer with a source, under the ETag of its version."""
    answer_record(resp, show_source(source), digest(source), status)


def source_routes(desk: Desk) -> dict[str, object]:
    """Path → resource, of everything about sources."""
    return {
        "/sources": SourcesResource(desk),
        "/sources/{source_id}": SourceResource(desk),
        "/sources/{source_id}/runs": RunsResource(desk),
    }
