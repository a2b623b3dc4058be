"""Rows of an RSS or Atom feed, in memory that does not grow with it, as far as the feed is
well-formed.

A feed is decoded and mended first, so that feedparser and expat see the same UTF-8. What is still
not well-formed is read as a whole by feedparser's lenient parser, up to a size; without line
numbers, since it keeps none. From feedparser come the structure and the strings only: its
sanitiser, its links and its dates are not used. Rejected: a parser of our own, for the hundred odd
names that feeds of twenty years use for the same few things.

    feed = open_feed(stream, content_type="application/rss+xml", url="https://harbour.example/rss")
    feed.title, list(feed.rows())
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from tidings.importing.bodies import BodyError
from tidings.importing.decoding import charset_of, decode
from tidings.importing.entries import MAX_ENTRY_BYTES, BoundError, CutError, cut_feed
from tidings.importing.entry_values import FeedSays, entry_values, words
from tidings.importing.links import http_address
from tidings.importing.mending import EntityError, mend
from tidings.importing.parsing import ParserError, parse
from tidings.importing.parts import part
from tidings.importing.rows import Place, Reject, Row
from tidings.importing.survey import Survey, survey

# What lenient parsing takes is at worst a minute for this much, and far more for more.
MAX_WHOLE_CHARS = 4 * 1024 * 1024
_EDGE = re.compile(rb"<(/?)(?:[\w.-]+:)?(item|entry|channel|feed|rss|rdf)\b", re.IGNORECASE)


class NotAFeedError(ValueError):
    """The document is neither RSS nor Atom, or is one that should not be read."""


class Feed:
    """A feed that was read through once.

    Attributes:
        title: its own, as text; empty if it has none.
        link: the page it belongs to; None if it does not say.
        language: as it writes it; empty if it does not say.
    """

    def __init__(self, stream: BinaryIO, charset: str, url: str | None, found: Survey) -> None:
        self._stream = stream
        self._charset = charset
        self._url = url
        self._repeated = found.repeated
        self.title = words({"value": found.title})
        self.link = http_address(found.link, url)
        base = self.link or url
        self._repeated_links = {http_address(link, base) or "" for link in found.repeated_links}
        self.language = found.language
        self._own_link = found.link

    def rows(self, channel: str | None = None) -> Iterator[Row | Reject]:
        """Every entry as a row.

        Args:
            channel: the entries' channel; by default the feed's own title.

        Raises:
            NotAFeedError: before anything was yielded, and if nothing can be.
        """
        entry = 0
        try:
            for group in cut_feed(_utf8(self._stream, self._charset)):
                parsed = parse(group.document)
                for number, item in enumerate(parsed.entries):
                    entry += 1
                    # A group that feedparser counts otherwise than expat has no lines.
                    is_counted = len(parsed.entries) == len(group.lines)
                    line = group.lines[number] if is_counted else None
                    yield self._row(item, parsed, Place(line, entry, self._url), channel)
                for line in group.too_long:
                    entry += 1
                    reason = f"the entry is longer than {MAX_ENTRY_BYTES} bytes"
                    yield Reject(Place(line, entry, self._url), reason, None)
            if entry:
                return
            problem = ""
        except (CutError, ParserError) as ex:
            problem = str(ex)
        except BoundError as ex:
            if not entry:
                raise NotAFeedError(str(ex)) from None
            reason = f"{ex}; the rest of the feed was not read"
            yield Reject(Place(entry=entry + 1, feed=self._url), reason, None)
            return
        yield from self._read_leniently(entry, problem, channel)

    def _read_leniently(
        self, done: int, problem: str, channel: str | None
    ) -> Iterator[Row | Reject]:
        """The entries after the first `done`, which strict reading found before it met a
        problem."""
        try:
            whole = self._whole()
            parsed = parse(whole)
        except ParserError as ex:
            reason = f"{problem or 'no entry found'}, and {ex}"
            if not done:
                raise NotAFeedError(reason) from None
            yield Reject(Place(entry=done + 1, feed=self._url), reason, None)
            return
        if not parsed.get("version") and not parsed.entries:
            raise NotAFeedError(f"neither RSS nor Atom{': ' if problem else ''}{problem}")
        entries = parsed.entries[done:]
        # Half an entry has not what it is called by, and would come in beside the whole one.
        half = entries[-1:] if problem and _breaks_off_in_entry(whole) else []
        entries = entries[: len(entries) - len(half)]
        if problem and not done and not entries:
            # One that breaks off before its first entry is no feed without entries.
            raise NotAFeedError(f"no entry before it breaks off: {problem}")
        self.title = self.title or words(part(parsed.feed, "title_detail"))
        for number, item in enumerate(entries, start=done + 1):
            yield self._row(item, parsed, Place(entry=number, feed=self._url), channel)
        if half:
            place = Place(entry=done + len(entries) + 1, feed=self._url)
            yield Reject(place, f"the feed breaks off in this entry: {problem}", None)

    def _whole(self) -> bytes:
        pieces: list[str] = []
        length = 0
        for piece in mend(decode(self._stream, self._charset)):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_WHOLE_CHARS:
                raise ParserError("the feed is too large to be mended")
        return "".join(pieces).encode()

    def _row(self, entry: Any, parsed: Any, place: Place, channel: str | None) -> Row | Reject:
        says = FeedSays(
            channel=channel or self.title,
            link=self._own_link,
            base=self.link or self._url,
            language=self.language,
            author=parsed.feed,
            repeated=self._repeated,
            repeated_links=self._repeated_links,
            address=self._url,
        )
        try:
            return Row(place, entry_values(entry, says))
        except BodyError as ex:
            found = {"id": entry.get("id"), "link": entry.get("link")}
            return Reject(place, f"body: {ex}", found)


def open_feed(stream: BinaryIO, *, content_type: str = "", url: str | None = None) -> Feed:
    """Read a feed through, for what it says of itself.

    Args:
        stream: the document, seekable.
        content_type: what the server said of it.
        url: where it came from.

    Raises:
        NotAFeedError: it is nothing that may be read.
    """
    charset = charset_of(content_type)
    try:
        found = survey(_utf8(stream, charset))
    except EntityError as ex:
        raise NotAFeedError(str(ex)) from None
    return Feed(stream, charset, url, found)


def read_feed(
    stream: BinaryIO, *, content_type: str = "", url: str | None = None, channel: str | None = None
) -> Iterator[Row | Reject]:
    """Every entry of a feed as a row; see `open_feed` and `Feed.rows`.

    Raises:
        NotAFeedError: before anything was yielded, and if nothing can be.
    """
    yield from open_feed(stream, content_type=content_type, url=url).rows(channel)


def _breaks_off_in_entry(document: bytes) -> bool:
    """Whether an entry begins that does not end, and after it nothing of the feed does either."""
    last = deque(_EDGE.finditer(document), maxlen=1)
    return bool(last) and not last[0][1] and last[0][2].lower() in (b"item", b"entry")


def _utf8(stream: BinaryIO, charset: str) -> Iterator[bytes]:
    return (piece.encode() for piece in mend(decode(stream, charset)) if piece)
