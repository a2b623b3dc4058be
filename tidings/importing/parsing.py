"""feedparser, told to hand over what a feed writes instead of what it makes of that.

It looks for e-mail addresses in authors by a pattern that knows no ending of more than four
letters, so that "ada@harbour.example (Ada)" became "ple (Ada"; it signs entries with the owner of a
podcast; it keeps the last of several dates even where only the first is one; and it does not tell
what an entry's addresses are relative to, nor forgets it where the element ends that said so. Its
parsers have no other way to be told than by their methods. Rejected: changing the document before
it is parsed, which would have to know as much of feeds as the parser does.

    parse(b"<rss><channel><item><title>Fog</title></item></channel></rss>").entries
"""

from __future__ import annotations

import io
from typing import Any

import feedparser
from feedparser import FeedParserDict
from feedparser import api as feedparser_api

from tidings.importing.moments import parse_moment
from tidings.importing.parts import text

# Where an entry has the address that its own ones are relative to.
ENTRY_BASE = "entry_base"
_DATES = frozenset({"published", "updated", "created"})
_HEADERS = {"content-type": "application/xml; charset=utf-8"}


class ParserError(Exception):
    """This part of the document cannot be parsed."""


def parse(document: bytes) -> Any:
    """What feedparser finds in a document.

    Args:
        document: in UTF-8.

    Raises:
        ParserError: it fails.
    """
    try:
        # As a stream: feedparser takes bytes for the name of a file if there is one.
        return feedparser.parse(
            io.BytesIO(document),
            response_headers=dict(_HEADERS),
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except Exception as ex:  # What it raises for odd documents is written nowhere.
        raise ParserError(f"feedparser failed: {ex!r:.200}") from ex


class _AsWritten:
    """What both of feedparser's parsers do otherwise."""

    def pop(self, element: str, strip_whitespace: int = 1) -> Any:
        """Keep a date that can be read from one of the same name that cannot."""
        entry = self.entries[-1] if element in _DATES and self.inentry else {}
        before = text(entry, element)
        value = super().pop(element, strip_whitespace)  # type: ignore[misc]
        if before and not _is_moment(text(entry, element)):
            entry[element] = before
        return value

    def unknown_endtag(self, tag: str) -> None:
        """An element's base ends with it, also where there is none around it."""
        super().unknown_endtag(tag)  # type: ignore[misc]
        self.baseuri = self.basestack[-1] if self.basestack else ""

    def _start_item(self, attributes: Any) -> None:
        super()._start_item(attributes)  # type: ignore[misc]
        self.entries[-1][ENTRY_BASE] = self.baseuri

    _start_entry = _start_item

    def _save_author(self, field: str, value: str, prefix: str = "author") -> None:
        if prefix == "author":
            authors = self._get_context().setdefault("authors", [FeedParserDict()])
            authors[-1][field] = value

    def _sync_author_detail(self, key: str = "author") -> None:
        """A name that stands in the element itself."""
        context = self._get_context()
        authors = context.get(f"{key}s")
        if authors and not authors[-1] and (written := text(context, key)):
            authors[-1]["name"] = written

    # Of feedparser's own.
    entries: list[Any]
    inentry: int
    baseuri: str
    basestack: list[str]

    def _get_context(self) -> Any:
        return super()._get_context()  # type: ignore[misc]


def _is_moment(written: str) -> bool:
    try:
        parse_moment(written)
    except ValueError:
        return False
    return True


class _StrictParser(_AsWritten, feedparser_api.StrictFeedParser):  # type: ignore[misc]
    pass


class _LooseParser(_AsWritten, feedparser_api.LooseFeedParser):  # type: ignore[misc]
    pass


feedparser_api.StrictFeedParser = _StrictParser
feedparser_api.LooseFeedParser = _LooseParser
# Its documented way to choose one; feedparser loads drivers by name.
feedparser_api.PREFERRED_XML_PARSERS[:] = ["tidings.importing.sax_driver"]
