"""Rows of an RSS or Atom feed, in memory that does not grow with it, as far as the feed is
well-formed.

Many feeds are not well-formed. Those are read a second time as a whole by feedparser's lenient
parser, up to a size; without line numbers, since it keeps none. feedparser's sanitiser and its
rewriting of links are switched off: bodies are sanitised in one place, for every format.

    rows = read_feed(stream, channel="Harbour")
"""

from __future__ import annotations

import io
import re
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.message import Message
from typing import Any, BinaryIO

import feedparser

from tidings.importing.bodies import BodyError, plain_text, shorten
from tidings.importing.entries import BoundError, CutError, cut_feed
from tidings.importing.moments import from_milliseconds
from tidings.importing.rows import Place, Reject, Row

# What lenient parsing takes is at worst a minute for this much, and far more for more.
MAX_WHOLE_BYTES = 4 * 1024 * 1024
SUMMARY_CHARS = 1000
_UTF16 = {
    b"\xff\xfe": "utf-16-le",
    b"<\x00": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
    b"\x00<": "utf-16-be",
}
_CHARACTER = re.compile(rb"&#(?:([0-9]+)|[xX]([0-9a-fA-F]+));?")
_DECLARATION = re.compile(r"^<\?xml[^>]*\?>")
_URI = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class NotAFeedError(ValueError):
    """The document is neither RSS nor Atom."""


class _ParserError(Exception):
    """This part of the document cannot be parsed."""


def read_feed(
    stream: BinaryIO, *, content_type: str = "", url: str | None = None, channel: str | None = None
) -> Iterator[Row | Reject]:
    """Every entry as a row.

    Args:
        stream: the document, seekable, at its start.
        content_type: what the server said of it.
        url: where it came from.
        channel: the entries' channel; by default the feed's own title.

    Raises:
        NotAFeedError: before anything was yielded, and if nothing can be.
    """
    document = _without_utf16(stream)
    charset = _charset(content_type) if document is stream else None
    entry = 0
    try:
        for group in cut_feed(document, charset):
            parsed = _parse(group.document, charset)
            for number, item in enumerate(parsed.entries):
                entry += 1
                # A group that feedparser counts otherwise than expat has entries, but no lines.
                line = group.lines[number] if len(parsed.entries) == len(group.lines) else None
                yield _row(item, parsed, Place(line, entry, url), channel)
        if entry:
            return
        problem = ""
    except (CutError, _ParserError) as ex:
        problem = str(ex)
    except BoundError as ex:
        if not entry:
            raise NotAFeedError(str(ex)) from None
        yield Reject(
            Place(entry=entry + 1, feed=url), f"{ex}; the rest of the feed was not read", None
        )
        return
    yield from _read_leniently(document, charset, entry, problem, url, channel)


def _read_leniently(
    stream: BinaryIO,
    charset: str | None,
    done: int,
    problem: str,
    url: str | None,
    channel: str | None,
) -> Iterator[Row | Reject]:
    """The entries after the first `done`, which strict reading found before it met a problem."""
    try:
        parsed = _parse(_mend(stream), charset)
    except _ParserError as ex:
        reason = f"{problem or 'no entry found'}, and {ex}"
        if not done:
            raise NotAFeedError(reason) from None
        yield Reject(Place(entry=done + 1, feed=url), reason, None)
        return
    if not parsed.get("version") and not parsed.entries:
        raise NotAFeedError(f"neither RSS nor Atom{': ' if problem else ''}{problem}")
    for number, item in enumerate(parsed.entries[done:], start=done + 1):
        yield _row(item, parsed, Place(entry=number, feed=url), channel)


def _mend(stream: BinaryIO) -> bytes:
    """The whole document without the characters on which feedparser's lenient parser gives up."""
    stream.seek(0)
    document = stream.read(MAX_WHOLE_BYTES + 1)
    if len(document) > MAX_WHOLE_BYTES:
        raise _ParserError("the feed is too large to be mended")
    return _CHARACTER.sub(_possible_character, document.replace(b"\x00", b""))


def _possible_character(reference: re.Match[bytes]) -> bytes:
    decimal, hexadecimal = reference.groups()
    code = int(decimal[:9]) if decimal else int(hexadecimal[:9], 16)
    return reference[0] if 0 < code < 0xD800 or 0xDFFF < code < 0x110000 else b"&#65533;"


def _without_utf16(stream: BinaryIO) -> BinaryIO:
    """The same document in UTF-8 if it is UTF-16, whose bytes cannot be cut and joined like
    text."""
    start = stream.read(2)
    stream.seek(0)
    if start not in _UTF16:
        return stream
    document = stream.read(MAX_WHOLE_BYTES + 1)
    if len(document) > MAX_WHOLE_BYTES:
        raise NotAFeedError(f"UTF-16, and more than {MAX_WHOLE_BYTES} bytes")
    text = document.decode(_UTF16[start], "replace").removeprefix("\ufeff")
    return io.BytesIO(_DECLARATION.sub("", text, count=1).encode())


def _charset(content_type: str) -> str | None:
    message = Message()
    message["Content-Type"] = content_type
    charset = message.get_param("charset")
    return charset if isinstance(charset, str) else None


def _parse(document: bytes, charset: str | None) -> Any:
    headers = {"content-type": f"application/xml; charset={charset}"} if charset else {}
    try:
        return feedparser.parse(
            document, response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as ex:
        raise _ParserError(f"feedparser failed: {ex!r:.200}") from ex


def _row(entry: Mapping[str, Any], parsed: Any, place: Place, channel: str | None) -> Row | Reject:
    try:
        return Row(place, _values(entry, parsed.feed, place, channel))
    except BodyError as ex:
        return Reject(
            place, f"title or summary: {ex}", {"id": entry.get("id"), "link": entry.get("link")}
        )


def _values(
    entry: Mapping[str, Any], feed: Mapping[str, Any], place: Place, channel: str | None
) -> dict[str, object]:
    body, summary = _body_and_summary(entry)
    link = _http(entry.get("link"))
    identity = entry.get("id") or link
    site = channel or _words(feed.get("title_detail"))
    values: dict[str, object] = {
        "id": identity,
        # "123" is some other article in some other feed; a URI is the same everywhere.
        "source": None if _URI.match(identity or "") else feed.get("link") or place.feed or site,
        "title": _words(entry.get("title_detail")),
        "body_html": body,
        "summary": summary,
        "channel": site,
        "author": _author(entry) or _author(feed),
        "published": _published(entry),
        "url": link,
        "cover": _cover(entry),
    }
    return {field: value for field, value in values.items() if value}


def _body_and_summary(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """The fullest content there is as HTML, and the summary as text, if it is another text."""
    contents: Sequence[Mapping[str, str]] = entry.get("content") or ()
    described: Mapping[str, str] | None = entry.get("summary_detail")
    candidates = [_html(content) for content in contents if content.get("value")]
    if not candidates:
        return (_html(described) if described else ""), None
    body = max(candidates, key=len)
    summary = shorten(_words(described), SUMMARY_CHARS)
    return body, summary if summary != plain_text(body)[: len(summary)] else None


def _html(detail: Mapping[str, str]) -> str:
    value = detail.get("value", "")
    if detail.get("type") == "text/plain":
        # Lenient feeds call HTML plain; the sanitiser will see to it either way.
        paragraphs = re.split(r"\n\s*\n", value)
        return value if "<" in value else "".join(f"<p>{text}</p>" for text in paragraphs)
    return value


def _words(detail: Mapping[str, str] | None) -> str:
    if not detail or not detail.get("value"):
        return ""
    return detail["value"] if detail.get("type") == "text/plain" else plain_text(detail["value"])


def _author(holder: Mapping[str, Any]) -> str | None:
    detail: Mapping[str, str] = holder.get("author_detail") or {}
    return detail.get("name") or holder.get("author")


def _published(entry: Mapping[str, Any]) -> datetime | str | None:
    for field in ("published", "updated"):
        # Not .get, which on feedparser's dictionaries falls back to another field.
        if field not in entry or not entry[field]:
            continue
        parsed = entry.get(f"{field}_parsed")
        try:
            return from_milliseconds(1000 * timegm(parsed)) if parsed else str(entry[field])
        except (ValueError, OverflowError):
            # Handed on as it stands, like what could not be read, for the row to be refused by it.
            return str(entry[field])
    return None


def _cover(entry: Mapping[str, Any]) -> str | None:
    pictures = [medium.get("url") for medium in entry.get("media_thumbnail") or ()]
    media = [*(entry.get("media_content") or ()), *(entry.get("enclosures") or ())]
    pictures += [medium.get("url") or medium.get("href") for medium in media if _is_picture(medium)]
    return next((picture for picture in pictures if _http(picture)), None)


def _is_picture(medium: Mapping[str, str]) -> bool:
    return medium.get("medium") == "image" or medium.get("type", "").startswith("image/")


def _http(address: Any) -> str | None:
    return (
        address
        if isinstance(address, str) and address.lower().startswith(("http://", "https://"))
        else None
    )
