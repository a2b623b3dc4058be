"""Rows of every feed that an OPML file lists. A feed that fails is one reject; the others are
imported.

Feeds are fetched a few at a time, since most of the time of a long list is waiting for its slowest
servers, and never more than those few are kept on disk. Addresses other than http and https are
refused: the list may come from anyone, and must not make us read our own files.

    for feed in parse_opml(stream):
        feed.address
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.decoding import decode
from tidings.importing.feeds import NotAFeedError, read_feed
from tidings.importing.fetching import Fetched, FetchError, fetch
from tidings.importing.inputs import UNREADABLE, is_url, scratch_file, unpack
from tidings.importing.mending import EntityError, mend
from tidings.importing.rows import Place, Reject, Row

MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_FEED_BYTES = 16 * 1024 * 1024
FETCH_DEADLINE_S = 30
FETCHES_AT_ONCE = 8
# What an outline says to be that names its feed in `url`, as some programs write it.
_FEEDS = ("rss", "rdf", "atom", "feed")

_FOLLOWED = expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]


class ListError(ValueError):
    """The document is not OPML."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A feed in the list. `folder` is the text of the outline around it, or None."""

    line: int
    address: str
    title: str
    folder: str | None


def read_opml(
    stream: BinaryIO,
    scratch: Path,
    *,
    channel: str | None = None,
    rules: FetchRules = PUBLIC_ONLY,
) -> Iterator[tuple[Outline, Iterator[Row | Reject]]]:
    """Each feed of the list, feed after feed, with its entries, to be read before the next.

    Args:
        stream: the list.
        scratch: a folder for downloads.
        channel: of every entry; by default the folder of its feed, or else the feed's own title.
        rules: which machines may be asked.

    Raises:
        ListError: it is no OPML document.
    """
    outlines = list(dict.fromkeys(parse_opml(stream)))
    with ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="feed") as pool:
        for start in range(0, len(outlines), FETCHES_AT_ONCE):
            some = outlines[start : start + FETCHES_AT_ONCE]
            with ExitStack() as stack:
                files = [stack.enter_context(scratch_file(scratch)) for _ in some]
                # All of them, before any is read: what is slow overlaps.
                outcomes = list(pool.map(_download, some, files, repeat(rules)))
                for outline, file, outcome in zip(some, files, outcomes, strict=True):
                    rows = _read_one(outline, file, outcome, channel or outline.folder)
                    yield outline, rows


def parse_opml(stream: BinaryIO) -> list[Outline]:
    """The feeds of the list, in order.

    Raises:
        ListError: it is no OPML document, or longer than 4 MiB.
    """
    outlines: list[Outline] = []
    folders: list[str | None] = []
    parser = expat.ParserCreate("utf-8")

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.lower() == "opml":
            folders.append(None)
        if not folders:
            raise ListError(f"the document is <{name}>, not <opml>")
        if name.lower() != "outline":
            return
        said = {field.lower(): value.strip() for field, value in attributes.items()}
        is_feed = said.get("type", "").lower() in _FEEDS
        address = said.get("xmlurl") or (said.get("url") if is_feed else "")
        text = said.get("title") or said.get("text") or ""
        if address:
            outlines.append(Outline(parser.CurrentLineNumber, address, text, folders[-1]))
        folders.append(text or None)

    def end(name: str) -> None:
        if name.lower() == "outline":
            folders.pop()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    document = stream.read(MAX_LIST_BYTES + 1)
    if len(document) > MAX_LIST_BYTES:
        raise ListError(f"more than {MAX_LIST_BYTES} bytes")
    try:
        parser.Parse("".join(mend(decode(io.BytesIO(document)))), True)
    except expat.ExpatError as ex:
        # As behind a feed, what stands behind the list is not looked at.
        if ex.code != _FOLLOWED:
            raise ListError(
                f"not well-formed XML, line {ex.lineno}: {expat.ErrorString(ex.code)}"
            ) from None
    except EntityError as ex:
        raise ListError(str(ex)) from None
    return outlines


def _download(outline: Outline, file: BinaryIO, rules: FetchRules) -> Fetched | FetchError:
    try:
        if not is_url(outline.address):
            return FetchError("only http and https addresses are fetched")
        return fetch(
            outline.address,
            file,
            max_bytes=MAX_FEED_BYTES,
            deadline_s=FETCH_DEADLINE_S,
            rules=rules,
        )
    except FetchError as ex:
        return ex


def _read_one(
    outline: Outline, file: BinaryIO, outcome: Fetched | FetchError, channel: str | None
) -> Iterator[Row | Reject]:
    place = Place(line=outline.line, feed=outline.address)
    listed = {"xmlUrl": outline.address, "title": outline.title}
    if isinstance(outcome, FetchError):
        yield Reject(place, str(outcome), listed)
        return
    try:
        stream = unpack(file, MAX_FEED_BYTES)
        yield from read_feed(
            stream, content_type=outcome.content_type, url=outcome.url, channel=channel
        )
    except (NotAFeedError, *UNREADABLE, ValueError) as ex:
        yield Reject(place, str(ex), listed)
