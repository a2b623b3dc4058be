"""One row of any source, made into an article that may be stored, or refused with a reason.

A source's reader only finds rows and their places; every rule about what a row must hold stands
here once, so that the same article is the same whether it came by JSONL, CSV or feed. A wrong field
refuses the row instead of being dropped: an operator can mend a row that was named, and cannot see
one that was quietly changed.

    make_article({"title": "High tide", "body": "Full.", "channel": "Harbour"})
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from urllib.parse import urljoin, urlsplit

from tidings.importing.bodies import (
    BodyError,
    from_html,
    from_markdown,
    is_blank,
    is_visible,
    looks_like_html,
    summarise,
)
from tidings.importing.moments import parse_moment
from tidings.news.channels import FOR_YOU
from tidings.news.storing import LENGTHS

_NOT_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SPACE = re.compile(r"\s+")
_DASHES = re.compile(r"-{2,}")
_ORNAMENTED = re.compile("LATIN|GREEK")
_ENDING = re.compile(r"(?<=\w)[+#\u266f]+(?!\w)")
_SAID = {"+": "plus", "#": "sharp", "\u266f": "sharp"}
_BETWEEN_WORDS = re.compile(r"[-_]+")
# As many characters as the column holds; the longest tag in use, such as zh-Hant-TW, has ten.
_LANGUAGE = re.compile(r"(?=.{2,16}$)[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


class RowError(ValueError):
    """The row cannot become an article. The message names the field and says what is wrong with
    it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: its first line, or its number in a feed that has no usable lines, and
    which feed."""

    line: int | None = None
    entry: int | None = None
    feed: str | None = None

    def __str__(self) -> str:
        where = (
            f"line {self.line}"
            if self.line is not None
            else f"entry {self.entry}"
            if self.entry
            else ""
        )
        return " of ".join(part for part in (where, self.feed) if part)


@dataclass(frozen=True, slots=True)
class Row:
    """What a source says about one article, field by field, not yet believed."""

    place: Place
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not imported: why, and the row as it was found."""

    place: Place
    reason: str
    row: object


@dataclass(frozen=True, slots=True)
class NewArticle:
    """An article as it will be stored.

    Attributes:
        guid: what its source calls it; None where that identifies nothing.
        published_at: None where the source does not say.
        changed_at: when its source says that it last changed it.
        language: BCP 47, where it says so.
    """

    source_id: str
    channel_slug: str
    channel_name: str
    author: str | None
    title: str
    summary: str
    body: str
    cover: str | None
    url: str | None
    published_at: datetime | None
    guid: str | None = None
    changed_at: datetime | None = None
    language: str | None = None


def make_article(values: Mapping[str, object], *, default_channel: str | None = None) -> NewArticle:
    """The article that a row describes.

    Args:
        values: the row's fields: `title`; `body` (Markdown) or `body_html`; `channel`; and, as far
            as they are known, `id`, `source`, `slug`, `summary`, `author` or `authors`, `published`
            or `published_at`, `updated`, `language`, `url`, `cover` or `image`. The reader of feeds
            adds `guid`, `base` (of relative addresses in the body) and `body_instead` (HTML, for a
            body of which nothing is left). Others are left alone.
        default_channel: for a row that names no channel.

    Raises:
        RowError: naming the field that is wrong.
    """
    title = _line(values, "title")
    if not is_visible(title):
        raise RowError("title: missing")
    slug, name = _channel(values, default_channel)
    url = _link(values, "url", None)
    summary, body = _summary_and_body(values, url)
    return NewArticle(
        source_id=_source_id(values, url, slug, title),
        channel_slug=slug,
        channel_name=name,
        author=_checked("author", _first_author(values), LENGTHS.author) or None,
        title=_checked("title", title, LENGTHS.title),
        summary=_checked("summary", summary, LENGTHS.summary),
        body=body,
        cover=_link(values, "cover", url) or _link(values, "image", url),
        url=url,
        published_at=_moment(values, "published") or _moment(values, "published_at"),
        guid=_line(values, "guid") or None,
        changed_at=_moment(values, "updated"),
        language=_language(values),
    )


def name_source_id(source: str, own_id: str) -> str:
    """The `source_id` of a row that has an `id`; `source` may be empty."""
    return _bounded(f"{source}:{own_id}" if source else own_id)


def make_slug(text: str) -> str:
    """`"Café & Bar"` as `"cafe-bar"`; letters of other scripts stay as they are, with their marks.

    A mark belongs to a Latin or Greek letter as an ornament, without which the word is still read.
    In every other script it is half of the letter. A plus and a sharp that end a name are said in
    words, because they tell it from another one: C, C++ and C#.
    """
    text = _ENDING.sub(lambda signs: "".join(f"-{_SAID[sign]}" for sign in signs[0]), text)
    # Compatibility forms may turn out to be capitals, and folding a capital may bring out an
    # accent.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept: list[str] = []
    ornaments = False
    for char in folded:
        kind = unicodedata.category(char)
        if kind[0] == "M":
            if not ornaments and kept and kept[-1] != "-":
                kept.append(char)
        elif kind[0] in "LN":
            ornaments = _ORNAMENTED.match(unicodedata.name(char, "")) is not None
            kept.append(char)
        else:
            kept.append("-")
    slug = unicodedata.normalize("NFC", "".join(kept))
    return _DASHES.sub("-", slug).strip("-")


def _text(values: Mapping[str, object], field: str) -> str:
    """The field as text without what no text should hold; empty if it is absent. A number counts as
    its digits."""
    value = values.get(field)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"{field}: expected text, got {_kind(value)}")
    try:
        text = str(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits.
        raise RowError(f"{field}: the number is too long") from None
    if found := _NOT_TEXT.search(text):
        raise RowError(
            f"{field}: contains "
            + ("a NUL byte" if found[0] == "\0" else "bytes that are not UTF-8")
        )
    return _CONTROL.sub("", text).strip()


def _line(values: Mapping[str, object], field: str) -> str:
    return _SPACE.sub(" ", _text(values, field))


def _kind(value: object) -> str:
    kinds = {
        bool: "true or false",
        float: "a fraction",
        list: "a list",
        tuple: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)


def _checked(field: str, text: str, longest: int) -> str:
    if len(text) > longest:
        raise RowError(f"{field}: {len(text)} characters, at most {longest}")
    return text


def _channel(values: Mapping[str, object], default: str | None) -> tuple[str, str]:
    text = _line(values, "channel") or default or ""
    slug = make_slug(text)
    if not slug:
        raise RowError(
            "channel: missing" if not text else f"channel: {text!r} holds no letter or digit"
        )
    if slug == FOR_YOU.slug:
        raise RowError(f"channel: {slug!r} is the name of all channels together")
    return (
        _checked("channel", slug, LENGTHS.channel_slug),
        _checked("channel", _readable(text), LENGTHS.channel_name),
    )


def _readable(name: str) -> str:
    """A channel's name as it is shown. A slug has to become readable; what was written as a name,
    or in letters that have no capitals, stays as written."""
    if name.lower() != name or not name.isascii():
        return name
    spaced = name if " " in name else _BETWEEN_WORDS.sub(" ", name).strip()
    return spaced[0].upper() + spaced[1:]


def _first_author(values: Mapping[str, object]) -> str:
    listed = values.get("author") or values.get("authors")
    if isinstance(listed, list | tuple):
        listed = listed[0] if listed else None
    if isinstance(listed, Mapping):
        return _line({"author": listed.get("name")}, "author")
    return _line({"author": listed}, "author").split(";")[0].rstrip()


def _link(values: Mapping[str, object], field: str, base: str | None) -> str | None:
    text = _text(values, field)
    if not text:
        return None
    try:
        url = urljoin(base, text) if base else text
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not _SPACE.search(url)
    except ValueError:
        usable = False
    if not usable:
        raise RowError(f"{field}: expected an http or https address, got {text[:100]!r}")
    return _checked(field, url, LENGTHS.url if field == "url" else LENGTHS.cover)


def _summary_and_body(values: Mapping[str, object], url: str | None) -> tuple[str, str]:
    summary = _line(values, "summary")
    html = _text(values, "body_html")
    markdown = _text(values, "body")
    instead = _text(values, "body_instead")
    base = _text(values, "base") or url
    if not (html or markdown or summary or instead):
        raise RowError("body: missing, and so is a summary that could stand for it")
    try:
        if html or looks_like_html(markdown):
            body = from_html(html or markdown, base)
        elif markdown:
            body = from_markdown(markdown, base)
        else:
            body = from_html(f"<p>{escape(summary)}</p>")
        if is_blank(body) and instead:
            body = from_html(instead, base)
    except BodyError as ex:
        raise RowError(f"body: {ex}") from None
    if is_blank(body):
        raise RowError("body: nothing is left of it once it is sanitised")
    return summary or summarise(body), body


def _moment(values: Mapping[str, object], field: str) -> datetime | None:
    value = values.get(field)
    if value is None or value == "":
        return None
    try:
        return parse_moment(value)
    except ValueError as ex:
        raise RowError(f"{field}: {ex}") from None


def _language(values: Mapping[str, object]) -> str | None:
    """The row's language if it is written as languages are; any other word is no reason to refuse
    an article."""
    text = _line(values, "language").replace("_", "-")
    return text if _LANGUAGE.fullmatch(text) else None


def _source_id(values: Mapping[str, object], url: str | None, slug: str, title: str) -> str:
    source = _line(values, "source")
    if own := _line(values, "id"):
        return name_source_id(source, own)
    if url:
        return _bounded(url)
    if own := _line(values, "slug"):
        return _bounded(f"{source or slug}/{own}")
    return _digest(f"{slug}\n{title}")


def _bounded(identity: str) -> str:
    return identity if len(identity) <= LENGTHS.source_id else _digest(identity)


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
