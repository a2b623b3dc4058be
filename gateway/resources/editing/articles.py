"""Articles as authors and editors work on them: the list, one record, and the writing of it.

`/articles` and `/articles/{article_id}` are for readers, too, so these routes are theirs with more
methods. Every write but the first names the version it was made from, and answers with the record
as it is since. Rejected: paths of their own under `/operator`; an article has one address.

    POST /articles                # a draft; of two with one Idempotency-Key it makes one
    PATCH /articles/42            # If-Match is the ETag of GET /operator/articles/42
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec
from msgspec import UNSET

from gateway.feed.ladder import Recommending
from gateway.resources.articles import ArticleResource, FeedResource
from gateway.resources.editing.desk import (
    CHANGE_PROBLEMS,
    READ_PROBLEMS,
    WRITE_PROBLEMS,
    Desk,
    actor_of,
)
from gateway.resources.editing.records import (
    ID,
    ArticleRecord,
    answer_article,
    describe_write,
    read_ms,
)
from gateway.resources.idempotency import IDEMPOTENCY_KEY, read_idempotency_key
from tidings.editing import articles as verbs
from tidings.editing import fields as writing
from tidings.editing import records
from tidings.editing.acting import Act
from tidings.editing.fields import Fields
from tidings.http.bodies import answer_json, read_body
from tidings.http.cursors import AFTER_TEXT, LIMIT
from tidings.http.errors import InvalidRequestError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import (
    MAX_ID,
    IntParameter,
    TextParameter,
    read_choice,
    read_id,
    read_parameters,
    read_text,
)
from tidings.http.preconditions import IF_MATCH, read_if_match
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.news.listing import ListPlace, Record
from tidings.news.visibility import DRAFT, STATUSES
from tidings.readers.keys import Role

STATUS = TextParameter("status", 16, f"only those of one status: {', '.join(STATUSES)}")
AUTHOR = TextParameter("author", 128, "only those by an author of this name")
TEXT = TextParameter("q", 200, "only those with this in their title or summary")
CHANNEL = IntParameter("channel_id", 0, MAX_ID, 0, "only those of one channel; 0 is any")
SOURCE = IntParameter("source_id", 0, MAX_ID, 0, "only those of one source; 0 is any")


class NewArticle(Fields, frozen=True):
    """A new article: a title, a channel, and a `body` in Markdown or a `body_html` are needed.
    `publish` shows it at once, which takes an editor; otherwise it is a draft."""

    publish: bool = False


class ArticleLine(msgspec.Struct, frozen=True):
    """What a list shows of an article; `channel` is its channel's slug. A moment that cannot be
    read is null."""

    article_id: int
    status: str
    published_at: int | None
    channel: str
    title: str


class ArticleLines(msgspec.Struct, frozen=True):
    """Newest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[ArticleLine]
    next: str | None


class Preview(msgspec.Struct, frozen=True):
    """What readers would see; `body` is sanitised HTML."""

    title: str
    summary: str
    author: str | None
    body: str
    cover: str | None
    url: str | None
    language: str | None


class FeedDeskResource(FeedResource):
    """`/articles`: the feed for readers, and new articles."""

    needs_role = {"post": Role.AUTHOR}
    limit_class = {"get": LimitClass.FEED, "post": LimitClass.WRITE}
    operations = FeedResource.operations | {
        "post": Operation(
            "Create an article, as a draft unless an editor publishes it",
            body=NewArticle,
            answers=ArticleRecord,
            status=HTTPStatus.CREATED,
            headers=(IDEMPOTENCY_KEY,),
            problems=(HTTPStatus.BAD_REQUEST, *WRITE_PROBLEMS),
            is_record=True,
        )
    }

    def __init__(self, recommending: Recommending, channels: Channels, desk: Desk) -> None:
        super().__init__(recommending, channels)
        self._desk = desk
        self._decoder = msgspec.json.Decoder(NewArticle)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        key = read_idempotency_key(req)
        wanted = read_body(req, self._decoder, self._desk.max_body_bytes)

        def create(act: Act) -> Record:
            if wanted.publish:
                act.need(Role.EDITOR)
            record = verbs.create(act, wanted, key=key)
            # A request that comes again changes nothing of what became of the first one's article.
            is_new = record.status == DRAFT and wanted.publish
            return verbs.publish(act, record.article_id) if is_new else record

        record = self._desk.change(req, create)
        resp.location = f"/operator/articles/{record.article_id}"
        answer_article(resp, record, HTTPStatus.CREATED)


class ArticleDeskResource(ArticleResource):
    """`/articles/{article_id}`: the article for readers, and writes of it."""

    needs_role = {"put": Role.AUTHOR, "patch": Role.AUTHOR, "delete": Role.EDITOR}
    limit_class = dict.fromkeys(needs_role, LimitClass.WRITE)
    operations = ArticleResource.operations | {
        "put": describe_write("Write an article anew: what is left out is emptied", Fields),
        "patch": describe_write(
            "Change an article: what is left out stays, what is null is emptied", Fields
        ),
        "delete": Operation(
            "Delete an article for good: its source does not bring it back",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
        ),
    }

    def __init__(self, articles: Articles, desk: Desk) -> None:
        super().__init__(articles)
        self._desk = desk
        self._decoder = msgspec.json.Decoder(Fields)

    def on_put(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        self._edit(req, resp, article_id, _complete(self._read(req)))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        self._edit(req, resp, article_id, self._read(req))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("article_id", article_id), read_if_match(req)
        self._desk.change(req, lambda act: verbs.delete(act, id_, seen=seen))
        resp.status = int(HTTPStatus.NO_CONTENT)

    def _read(self, req: falcon.Request) -> Fields:
        return read_body(req, self._decoder, self._desk.max_body_bytes)

    def _edit(
        self, req: falcon.Request, resp: falcon.Response, article_id: str, fields: Fields
    ) -> None:
        read_parameters(req)
        id_, seen = read_id("article_id", article_id), read_if_match(req)
        record = self._desk.change(req, lambda act: verbs.edit(act, id_, fields, seen=seen))
        answer_article(resp, record)


class ArticlesResource:
    """`GET /operator/articles`."""

    needs_role = {"get": Role.AUTHOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Articles, whether readers see them or not, the newest first; an author's own",
            answers=ArticleLines,
            parameters=(LIMIT, CHANNEL, SOURCE, STATUS, AUTHOR, TEXT, AFTER_TEXT),
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = read_parameters(
            req, [LIMIT, CHANNEL, SOURCE], texts=[STATUS, AUTHOR, TEXT, AFTER_TEXT]
        )
        status, reader_id = read_choice(req, STATUS, STATUSES), req.context.reader_id
        word = self._desk.cursors.read_text("articles", reader_id, read_text(req, AFTER_TEXT))
        with self._desk.engine.connect() as conn:
            found = records.find_articles(
                conn,
                actor_of(req),
                limit=asked[LIMIT.name],
                channel_id=asked[CHANNEL.name],
                status=status or None,
                origin_id=asked[SOURCE.name] or None,
                by=read_text(req, AUTHOR) or None,
                text=read_text(req, TEXT) or None,
                after=msgspec.json.decode(word, type=ListPlace) if word else None,
            )
        following = found.next and msgspec.json.encode(found.next).decode()
        lines = [
            ArticleLine(
                article_id=line.article_id,
                status=line.status,
                published_at=read_ms(line.published_at),
                channel=line.channel,
                title=line.title,
            )
            for line in found.lines
        ]
        word = following and self._desk.cursors.sign_text("articles", reader_id, following)
        answer_json(resp, ArticleLines(lines, word))


class OperatorArticleResource:
    """`GET /operator/articles/{article_id}`."""

    needs_role = {"get": Role.AUTHOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "All that is stored of an article; its ETag is what a write has to bring back",
            answers=ArticleRecord,
            path_parameters=ID,
            problems=READ_PROBLEMS,
            is_record=True,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        read_parameters(req)
        with self._desk.engine.connect() as conn:
            record = records.read_article(conn, actor_of(req), read_id("article_id", article_id))
        answer_article(resp, record)


class PreviewResource:
    """`POST /articles/preview`."""

    needs_role = {"post": Role.AUTHOR}
    limit_class = LimitClass.WRITE
    operations = {
        "post": Operation(
            "What readers would see of an article; nothing is stored",
            body=Fields,
            answers=Preview,
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoder = msgspec.json.Decoder(Fields)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        fields = read_body(req, self._decoder, self._desk.max_body_bytes)
        with self._desk.engine.connect() as conn:
            seen = writing.write(conn, fields)
        preview = Preview(
            title=seen.title,
            summary=seen.summary,
            author=seen.author,
            body=seen.body,
            cover=seen.cover,
            url=seen.url,
            language=seen.language,
        )
        answer_json(resp, preview)


def _complete(fields: Fields) -> Fields:
    """With null for all that a replacement leaves out and an article may be without."""
    optional = ("summary", "author", "cover", "url", "language")
    missing = {name: None for name in optional if getattr(fields, name) is UNSET}
    errors = {name: "missing" for name in ("title", "channel_id") if getattr(fields, name) is UNSET}
    if fields.body is UNSET and fields.body_html is UNSET:
        errors["body"] = "missing"
    if errors:
        raise InvalidRequestError(errors)
    return msgspec.structs.replace(fields, **missing)
