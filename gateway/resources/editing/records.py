"""An article's record as it is sent: all that is stored, under the ETag of that version.

The counters are told, but the ETag does not follow them: readers change them while an editor
writes. Rejected: the record as the database has it; a new column would be told to every client.

    answer_article(resp, record)
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

import falcon
import msgspec

from gateway.resources.editing.desk import CHANGE_PROBLEMS
from tidings.editing.records import digest
from tidings.http.openapi import Operation
from tidings.http.preconditions import IF_MATCH, answer_record
from tidings.news.listing import Record
from tidings.process.clock import milliseconds

ID = {"article_id": "from GET /operator/articles"}


class ArticleRecord(msgspec.Struct, frozen=True):
    """All that is stored of an article. Moments are ms since 1970, null where one cannot be read;
    `body` is the Markdown that it was written in, null where it was HTML; `source_id` is who
    delivers it and `identity` what it is to them; `note` is the reviewer's."""

    article_id: int
    source_id: int
    identity: str
    status: str
    channel_id: int
    channel: str
    author: str | None
    title: str
    summary: str
    body: str | None
    body_html: str
    cover: str | None
    image: str | None
    url: str | None
    language: str | None
    note: str | None
    published_at: int | None
    updated_at: int | None
    edited_at: int | None
    counts: dict[str, int]


def answer_article(
    resp: falcon.Response, record: Record, status: HTTPStatus = HTTPStatus.OK
) -> None:
    """Answer with a record."""
    shown = ArticleRecord(
        article_id=record.article_id,
        source_id=record.origin_id,
        identity=record.source_id,
        status=record.status,
        channel_id=record.channel_id,
        channel=record.channel,
        author=record.author,
        title=record.title,
        summary=record.summary,
        body=record.markdown,
        body_html=record.body,
        cover=record.cover,
        image=record.image,
        url=record.url,
        language=record.language,
        note=record.note,
        published_at=read_ms(record.published_at),
        updated_at=read_ms(record.updated_at),
        edited_at=read_ms(record.edited_at),
        counts=record.counts,
    )
    answer_record(resp, shown, digest(record), status)


def describe_write(summary: str, body: type | None = None) -> Operation:
    """A write of an article, in the description."""
    return Operation(
        summary,
        body=body,
        answers=ArticleRecord,
        path_parameters=ID,
        headers=(IF_MATCH,),
        problems=CHANGE_PROBLEMS,
        is_record=True,
    )


def read_ms(moment: datetime | None) -> int | None:
    """A moment as ms since 1970; None where the database holds none that can be read."""
    return None if moment is None else milliseconds(moment)
