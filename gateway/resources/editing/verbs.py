"""What is done to an article as a whole: submitted, reviewed, published, taken down, restored.

Each verb is a path below the article's, since each has a status that it leads to and a role that it
needs. Rejected: a status that PATCH may set; which of them may follow which would be told nowhere.

    POST /articles/42/review {"decision": "return", "note": "Who says so?"}
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from gateway.resources.editing.desk import Desk
from gateway.resources.editing.records import answer_article, describe_write
from tidings.editing import articles as verbs
from tidings.editing.acting import Act, Seen
from tidings.http.bodies import read_body
from tidings.http.errors import InvalidRequestError
from tidings.http.limits import LimitClass
from tidings.http.parameters import read_id, read_parameters
from tidings.http.preconditions import read_if_match
from tidings.news.listing import Record
from tidings.process.clock import Clock, moment
from tidings.readers.keys import Role

# The last moment of the year 9999, which is the last that a database knows.
LAST_MS = 253_402_300_799_999


class Decision(StrEnum):
    """What becomes of an article that was submitted."""

    PUBLISH = "publish"
    RETURN = "return"


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It is published, or returned to its author as a draft, with a note of what has to be
    different."""

    decision: Decision
    note: Annotated[str, Meta(max_length=verbs.MOST_NOTE)] | None = None


class Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When: at a moment to come, in ms since 1970, or now."""

    at: Annotated[int, Meta(ge=0, le=LAST_MS)] | None = None


class VerbResource:
    """`POST` of a verb that needs nothing but its article.

    Args:
        verb: does it.
        role: who may.
    """

    limit_class = LimitClass.WRITE

    def __init__(
        self, desk: Desk, summary: str, verb: Callable[..., Record], *, role: Role = Role.EDITOR
    ) -> None:
        self._desk = desk
        self._verb = verb
        self.needs_role = {"post": role}
        self.operations = {"post": describe_write(summary)}

    def on_post(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        do_verb(self._desk, req, resp, article_id, self._verb)


class ReviewResource:
    """`POST /articles/{article_id}/review`."""

    needs_role = {"post": Role.EDITOR}
    limit_class = LimitClass.WRITE

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoder = msgspec.json.Decoder(Review)
        self.operations = {
            "post": describe_write("Publish what was submitted, or return it to its author", Review)
        }

    def on_post(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        review = read_body(req, self._decoder, self._desk.max_body_bytes)

        def decide(act: Act, id_: int, *, seen: Seen) -> Record:
            if review.decision is Decision.PUBLISH:
                return verbs.approve(act, id_, seen=seen)
            return verbs.send_back(act, id_, review.note or "", seen=seen)

        do_verb(self._desk, req, resp, article_id, decide)


class PublicationResource:
    """`POST /articles/{article_id}/publication`."""

    needs_role = {"post": Role.EDITOR}
    limit_class = LimitClass.WRITE

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._decoder = msgspec.json.Decoder(Publication)
        summary = "Show an article to readers: now, or hidden until a moment and shown then"
        self.operations = {"post": describe_write(summary, Publication)}

    def on_post(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        at = read_body(req, self._decoder, self._desk.max_body_bytes).at
        if at is not None and at <= self._clock():
            raise InvalidRequestError({"at": "is past; without it the article is published now"})

        def publish(act: Act, id_: int, *, seen: Seen) -> Record:
            if at is None:
                return verbs.publish(act, id_, seen=seen)
            return verbs.schedule(act, id_, moment(at), seen=seen)

        do_verb(self._desk, req, resp, article_id, publish)


def do_verb(
    desk: Desk,
    req: falcon.Request,
    resp: falcon.Response,
    article_id: str,
    verb: Callable[..., Record],
) -> None:
    """Do it to the version that the client has seen, and answer with the record as it is then."""
    read_parameters(req)
    id_, seen = read_id("article_id", article_id), read_if_match(req)
    answer_article(resp, desk.change(req, lambda act: verb(act, id_, seen=seen)))


def verb_routes(desk: Desk, clock: Clock) -> dict[str, object]:
    """Path → resource, of every verb."""
    path = "/articles/{article_id}"
    return {
        f"{path}/submission": VerbResource(
            desk, "Ask an editor to review a draft", verbs.submit, role=Role.AUTHOR
        ),
        f"{path}/review": ReviewResource(desk),
        f"{path}/publication": PublicationResource(desk, clock),
        f"{path}/take-down": VerbResource(
            desk, "Show an article nowhere any more: gone at once", verbs.take_down
        ),
        f"{path}/restoration": VerbResource(desk, "Show again what was taken down", verbs.restore),
    }
