"""What has to be known of a feed before its first entry can be told: what it says of itself,
wherever that stands, and which guids stand on several of its entries.

Feeds have their title behind their entries, and their link; a guid that is the same on every entry
is seen to be so only at the last. So a feed is read through once before its entries are made.
Rejected: keeping all entries until the end, which takes memory that grows with the feed.

    survey([b"<rss><channel><title>Harbour</title></channel></rss>"]).title  # "Harbour"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

from tidings.importing.entries import ENTRIES, local_name
from tidings.importing.links import is_page

# Longer than any field that is kept of a feed or of an entry; the rest of a text is not gathered.
MAX_TEXT_CHARS = 20_000
# 100,000 guids and their links are some 20 MB; a feed with more repeats none of those that follow.
MAX_NAMES = 400_000
_FEEDS = {"channel", "feed"}
_GUIDS = {"guid", "id"}
_TOLD = {"title", "link", "language"}
_GUID, _LINK = "guid", "link"


@dataclass(slots=True)
class Survey:
    """What a feed says of itself, as it is written there; and the guids and links that stand on
    several of its entries, and so identify none."""

    title: str = ""
    link: str = ""
    language: str = ""
    repeated: set[str] = field(default_factory=set)
    repeated_links: set[str] = field(default_factory=set)


def survey(pieces: Iterable[bytes]) -> Survey:
    """Read through a feed, as far as it is well-formed.

    Args:
        pieces: the document, in UTF-8.
    """
    surveyor = _Surveyor()
    try:
        for piece in pieces:
            surveyor.parser.Parse(piece, False)
    except expat.ExpatError:
        # The reader of entries meets the same fault, and tells it.
        pass
    return surveyor.found


class _Surveyor:
    def __init__(self) -> None:
        self.found = Survey()
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._open: list[str] = []
        self._entry_depth = 0
        self._names: set[tuple[str, str]] = set()
        self._seen: set[int] = set()
        self._text: list[str] = []
        self._room = 0

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        local = local_name(name)
        if self._entry_depth:
            if len(self._open) == self._entry_depth + 1:
                self._start_name(local, attributes)
            return
        if local in ENTRIES and local_name(parent) in {*_FEEDS, "rdf"}:
            self._entry_depth = len(self._open)
            self._names = {(_GUID, " ".join(attributes.get("rdf:about", "").split()))}
            return
        if len(self._open) <= 2 and not self.found.language:
            self.found.language = attributes.get("xml:lang", "")
        if _is_told(name, parent):
            if local == "link" and attributes.get("href"):
                self._take_link(attributes)
            else:
                self._listen()

    def _end(self, name: str) -> None:
        parent = self._open[-2] if len(self._open) > 1 else ""
        local = local_name(name)
        if self.parser.CharacterDataHandler is not None and local in (_GUIDS | _TOLD):
            self.parser.CharacterDataHandler = None
            text = " ".join("".join(self._text).split())
            if self._entry_depth:
                self._names.add((_LINK if local == _LINK else _GUID, text))
            elif _is_told(name, parent) and not getattr(self.found, local):
                setattr(self.found, local, text)
        if len(self._open) == self._entry_depth:
            self._entry_depth = 0
            self._count()
        self._open.pop()

    def _start_name(self, local: str, attributes: dict[str, str]) -> None:
        if local in _GUIDS or (local == _LINK and "href" not in attributes):
            self._listen()
        elif local == _LINK and is_page(attributes.get("rel", "")):
            self._names.add((_LINK, attributes["href"].strip()))

    def _listen(self) -> None:
        self._text = []
        self._room = MAX_TEXT_CHARS
        self.parser.CharacterDataHandler = self._hear

    def _hear(self, text: str) -> None:
        if self._room > 0:
            self._text.append(text[: self._room])
            self._room -= len(text)

    def _take_link(self, attributes: dict[str, str]) -> None:
        if is_page(attributes.get("rel", "")) and not self.found.link:
            self.found.link = attributes["href"].strip()

    def _count(self) -> None:
        for kind, name in self._names:
            if not name or len(self._seen) >= MAX_NAMES:
                continue
            digest = hash((kind, name))
            if digest in self._seen:
                repeated = self.found.repeated if kind == _GUID else self.found.repeated_links
                repeated.add(name)
            self._seen.add(digest)


def _is_told(name: str, parent: str) -> bool:
    """True for what a feed says of itself in its format's own words, not in those of an
    extension."""
    prefix, _, local = name.lower().rpartition(":")
    around, _, feed = parent.lower().rpartition(":")
    return local in _TOLD and feed in _FEEDS and prefix == around
