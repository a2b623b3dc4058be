"""What an editor writes of an article, made into what is stored of it.

By the same rules as a row of an import, so that an article is the same however it came. A field
that is left out stays as it is; one that is null is emptied. The preview is this and nothing else:
what it shows is what would be stored. Rejected: one structure for a new article and another for a
change, with each rule written twice.

    fields = Fields(title="High tide", body="The harbour is *full*.", channel_id=3)
    write(conn, fields).body  # "<p>The harbour is <em>full</em>.</p>"
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection

from tidings.importing.bodies import summarise
from tidings.importing.rows import NewArticle, RowError, make_article
from tidings.news.channels import ChannelNotFoundError
from tidings.news.drafting import Written
from tidings.news.images import find_image
from tidings.news.listing import Record
from tidings.news.rearranging import lock_channel

IMAGES = "/images/"
MOST_LANGUAGE = 16
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", re.ASCII)
# Stands for a body, or a channel, that is not judged here.
_STAYS = "x"


class FieldError(ValueError):
    """A field cannot be stored.

    Attributes:
        field: which.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


# What no database can hold is refused by name, before one is asked.
ChannelId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Fields(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What is written; a field that is not set stays as it is.

    Attributes:
        channel_id: where it stands.
        body: in Markdown.
        body_html: in HTML, instead of `body`.
        summary: null for the first sentences of the body.
        cover: an https address, or `/images/` and what `POST /images` answered.
        language: in BCP 47, as `en` or `pt-BR`.
    """

    channel_id: ChannelId | UnsetType = UNSET
    title: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    body_html: str | UnsetType = UNSET
    summary: str | UnsetType | None = UNSET
    author: str | UnsetType | None = UNSET
    cover: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET


def need_channel(conn: Connection, channel_id: int) -> None:
    """Lock a channel, so that one that is being merged gets nothing that stays behind.

    Raises:
        FieldError: there is none of this id.
    """
    try:
        lock_channel(conn, channel_id)
    except ChannelNotFoundError as ex:
        raise FieldError("channel_id", str(ex)) from None


def write(conn: Connection, fields: Fields, known: Record | None = None) -> Written:
    """What would be stored.

    Args:
        conn: a connection.
        fields: what is written.
        known: the article that is changed; None for a new one, which needs a title and a body.

    Raises:
        FieldError: a field cannot be stored.
    """
    new = _judge(fields, known)
    cover, image = _find_cover(conn, fields, known, new.cover)
    if known is None:
        body, markdown, author = new.body, fields.body or None, new.author
        summary = new.summary
    else:
        is_same = fields.body is UNSET and fields.body_html is UNSET
        body = known.body if is_same else new.body
        markdown = known.markdown if is_same else fields.body or None
        author = known.author if fields.author is UNSET else new.author
        summary = _summarise(fields, known, body, new.summary)
    return Written(
        title=new.title,
        summary=summary,
        author=author,
        body=body,
        markdown=markdown,
        cover=cover,
        image=image,
        url=new.url,
        language=_language(fields, known),
    )


def _judge(fields: Fields, known: Record | None) -> NewArticle:
    """The article that an import would make of this."""
    if fields.body is not UNSET and fields.body_html is not UNSET:
        raise FieldError("body_html", "expected either this or body, got both")
    values: dict[str, object] = {}
    if known is not None:
        values = {"title": known.title, "url": known.url}
    names = ("title", "body", "body_html", "summary", "author", "url", "cover")
    values |= {name: given for name in names if (given := getattr(fields, name)) is not UNSET}
    if str(values.get("cover")).startswith(IMAGES):
        del values["cover"]
    if known is not None and fields.body is UNSET and fields.body_html is UNSET:
        values["body_html"] = _STAYS
    try:
        return make_article(values, default_channel=_STAYS)
    except RowError as ex:
        field, _, reason = str(ex).partition(": ")
        raise FieldError(field, reason) from None


def _summarise(fields: Fields, known: Record, body: str, given: str) -> str:
    if fields.summary is UNSET and known.summary != summarise(known.body):
        return known.summary
    return given if fields.summary else summarise(body)


def _find_cover(
    conn: Connection, fields: Fields, known: Record | None, address: str | None
) -> tuple[str | None, str | None]:
    """The cover, and the SHA-256 of the picture that is kept of it here."""
    named = known.cover if fields.cover is UNSET and known else fields.cover or None
    if known is not None and named == known.cover:
        return known.cover, known.image
    if not named or not named.startswith(IMAGES):
        return address, None
    digest = named.removeprefix(IMAGES)
    if find_image(conn, digest) is None:
        raise FieldError("cover", f"there is no picture {named[:100]!r}; POST /images keeps one")
    return named, digest


def _language(fields: Fields, known: Record | None) -> str | None:
    if fields.language is UNSET:
        return known.language if known else None
    if not fields.language:
        return None
    if not _LANGUAGE.fullmatch(fields.language) or len(fields.language) > MOST_LANGUAGE:
        raise FieldError(
            "language", f"expected one such as en or pt-BR, got {fields.language!r:.40}"
        )
    return fields.language
