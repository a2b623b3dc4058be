"""`/behaviors`: what readers did, named by the tokens they were given.

A report needs no reader's id, since a token names all it is about. Rejected: an answer before the
events are durable, which loses what a phone has forgotten by then.

    POST /behaviors {"events": [{"track": "AQAQ…", "at": 1795435260000}]}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from tidings.http.bodies import answer_json, read_body
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.reading.behaviour import REPORT_LIMIT, Behaviours, Report, Verdict
from tidings.reading.events import MAX_READ_MS

MAX_TOKEN_CHARS = 120
MAX_MOMENT_MS = 2**53 - 1


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token, when it happened (ms since 1970; 0 is now), for `read` how long the article was
    read, in ms, and with `undone` that the act is taken back: the token does not act again then."""

    track: Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_CHARS)]
    at: Annotated[int, Meta(ge=0, le=MAX_MOMENT_MS)] = 0
    read_ms: Annotated[int, Meta(ge=0, le=MAX_READ_MS)] | None = None
    undone: bool = False


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 100 events, in any order."""

    events: Annotated[list[Event], Meta(min_length=1, max_length=REPORT_LIMIT)]


class Result(msgspec.Struct, frozen=True):
    """`accepted`: stored, and counted once however often it is sent. `refused`: the token is
    none of this site, or is an exposure's with `undone`, which cannot be taken back. `expired`: the
    token is over 30 days old. Do not send these two again."""

    verdict: Verdict


class Results(msgspec.Struct, frozen=True):
    """One result for each event, in their order."""

    results: list[Result]


class BehaviorsResource:
    """`POST /behaviors`."""

    limit_class = LimitClass.REPORT
    operations = {
        "post": Operation(
            "Report what the reader did; answered once it is durable",
            body=Events,
            answers=Results,
            status=HTTPStatus.ACCEPTED,
            problems=(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        )
    }

    def __init__(self, behaviours: Behaviours, *, max_body_bytes: int) -> None:
        self._behaviours = behaviours
        self._max_body_bytes = max_body_bytes
        self._decoder = msgspec.json.Decoder(Events)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        events = read_body(req, self._decoder, self._max_body_bytes).events
        verdicts = self._behaviours.report(
            [Report(event.track, event.at, event.read_ms, event.undone) for event in events]
        )
        req.context.events = len(events)
        answer_json(resp, Results([Result(verdict) for verdict in verdicts]), HTTPStatus.ACCEPTED)
