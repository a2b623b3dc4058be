"""Rows of an RSS or Atom feed, in memory that does not grow with it, as far as the feed is well-formed.

Many feeds are not well-formed. Those are read a second time as a whole by feedparser's lenient parser, up to a
size; without line numbers, since it keeps none. feedparser's sanitiser and its rewriting of links are switched
off: bodies are sanitised in one place, whatever brought them here.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.message import Message
from typing import Any, BinaryIO

import feedparser

from tidings.importing.bodies import BodyError, plain_text, shorten
from tidings.importing.entries import CutError, cut_feed
from tidings.importing.moments import from_milliseconds
from tidings.importing.rows import Place, Reject, Row

MAX_WHOLE_BYTES = 32 * 1024 * 1024
SUMMARY_CHARS = 1000
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"\x00<", b"<\x00")
_URI = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class NotAFeedError(ValueError):
    """The document is neither RSS nor Atom."""


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
    charset = _charset(content_type)
    entry = 0
    try:
        for group in _groups(stream, charset):
            parsed = _parse(group.document, charset)
            for number, item in enumerate(parsed.entries):
                entry += 1
                # A group that feedparser counts otherwise than expat has entries, but no lines.
                line = group.lines[number] if len(parsed.entries) == len(group.lines) else None
                yield _row(item, parsed, Place(line, entry, url), channel)
        if entry:
            return
        problem = None
    except CutError as ex:
        problem = str(ex)
    stream.seek(0)
    document = stream.read(MAX_WHOLE_BYTES + 1)
    if len(document) > MAX_WHOLE_BYTES:
        reason = f"{problem or 'no entry found'}, and the feed is too large to be mended"
        if not entry:
            raise NotAFeedError(reason)
        yield Reject(Place(entry=entry + 1, feed=url), reason, None)
        return
    parsed = _parse(document, charset)
    if not parsed.get("version") and not parsed.entries:
        raise NotAFeedError(f"neither RSS nor Atom{': ' + problem if problem else ''}")
    for number, item in enumerate(parsed.entries[entry:], start=entry + 1):
        yield _row(item, parsed, Place(entry=number, feed=url), channel)


def _groups(stream: BinaryIO, charset: str | None) -> Iterator[Any]:
    start = stream.read(2)
    stream.seek(0)
    if start in _UTF16:
        raise CutError("UTF-16")
    return cut_feed(stream, charset)


def _charset(content_type: str) -> str | None:
    message = Message()
    message["Content-Type"] = content_type
    charset = message.get_param("charset")
    return charset if isinstance(charset, str) else None


def _parse(document: bytes, charset: str | None) -> Any:
    headers = {"content-type": f"application/xml; charset={charset}"} if charset else {}
    return feedparser.parse(document, response_headers=headers, sanitize_html=False, resolve_relative_uris=False)


def _row(entry: Mapping[str, Any], parsed: Any, place: Place, channel: str | None) -> Row | Reject:
    try:
        return Row(place, _values(entry, parsed.feed, place, channel))
    except BodyError as ex:
        return Reject(place, f"title or summary: {ex}", {"id": entry.get("id"), "link": entry.get("link")})


def _values(entry: Mapping[str, Any], feed: Mapping[str, Any], place: Place, channel: str | None) -> dict[str, object]:
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
        if not entry.get(field):
            continue
        parsed = entry.get(f"{field}_parsed")
        # What cannot be read is handed on as it stands, for the row to be refused by it.
        return from_milliseconds(1000 * timegm(parsed)) if parsed else str(entry[field])
    return None


def _cover(entry: Mapping[str, Any]) -> str | None:
    pictures = [medium.get("url") for medium in entry.get("media_thumbnail") or ()]
    media = [*(entry.get("media_content") or ()), *(entry.get("enclosures") or ())]
    pictures += [medium.get("url") or medium.get("href") for medium in media if _is_picture(medium)]
    return next((picture for picture in pictures if _http(picture)), None)


def _is_picture(medium: Mapping[str, str]) -> bool:
    return medium.get("medium") == "image" or medium.get("type", "").startswith("image/")


def _http(address: Any) -> str | None:
    return address if isinstance(address, str) and address.lower().startswith(("http://", "https://")) else None
