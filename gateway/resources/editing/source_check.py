"""`POST /sources/check`: what would come in from an address, before it is followed.

The address is asked by the gateway, within the deadline of the request, so a slow one has to be
checked at the shell, which waits for a minute. A feed that cannot be read is an answer and no
error: it is what was asked for. Rejected: a job that tells later; an operator waits for it.

    curl -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
         -d '{"address": "https://example.org/feed"}' http://127.0.0.1:8000/sources/check
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from gateway.resources.editing.desk import READ_PROBLEMS, Desk
from gateway.resources.editing.records import read_ms
from tidings.http.bodies import answer_json, read_body
from tidings.http.bulkhead import Bulkhead
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.importing.fetching import FetchError
from tidings.importing.visiting import AnswerError, Checked
from tidings.process.deadline import current_deadline
from tidings.readers.keys import Role
from tidings.sources.registry import MOST_ADDRESS

# Address and seconds → what would come in.
Check = Callable[[str, float], Checked]
# Each waits for a stranger's machine, and holds one of the worker's threads meanwhile.
AT_WORK = 2
INSIDE = 3
# Of what is left of the request's time, for the download; the rest is for reading it.
SHARE = 0.8


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a feed may be."""

    address: Annotated[str, Meta(min_length=1, max_length=MOST_ADDRESS)]


class Entry(msgspec.Struct, frozen=True):
    """An article that would come in."""

    title: str
    summary: str
    author: str | None
    url: str | None
    cover: str | None
    published_at: int | None
    channel: str


class CheckShown(msgspec.Struct, frozen=True):
    """What would come in: the first `articles` of so many `entries`, and why others are `refused`.
    `error` says why nothing would come in at all; `url` is where redirects led."""

    url: str | None
    title: str
    entries: int
    articles: list[Entry]
    refused: list[str]
    error: str | None


class CheckResource:
    """`POST /sources/check`."""

    needs_role = {"post": Role.OPERATOR}
    limit_class = LimitClass.WRITE
    operations = {
        "post": Operation(
            "What would come in from an address; nothing is stored",
            body=Address,
            answers=CheckShown,
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk, check: Check) -> None:
        self._desk = desk
        self._check = check
        self._decoder = msgspec.json.Decoder(Address)
        self._asking = Bulkhead("source checks", AT_WORK, [BoundedSemaphore(INSIDE)])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        address = read_body(req, self._decoder, self._desk.max_body_bytes).address
        with self._asking:
            deadline = current_deadline()
            assert deadline is not None
            try:
                shown = _show(self._check(address, deadline.remaining_ms() / 1000 * SHARE))
            except (FetchError, AnswerError) as ex:
                shown = CheckShown(
                    url=None, title="", entries=0, articles=[], refused=[], error=str(ex)
                )
        answer_json(resp, shown)


def _show(checked: Checked) -> CheckShown:
    return CheckShown(
        url=checked.url,
        title=checked.title,
        entries=checked.entries,
        articles=[
            Entry(
                title=found.title,
                summary=found.summary,
                author=found.author,
                url=found.url,
                cover=found.cover,
                published_at=read_ms(found.published_at),
                channel=found.channel_name,
            )
            for found in checked.articles
        ],
        refused=list(checked.refused),
        error=None,
    )
