"""Tells what an input holds, and reads it with the reader of that format.

The name decides where it is plain, the content where it is not: exports are called .xml, .txt or
nothing at all, and a server's Content-Type is wrong too often to be asked.

    with open_input("tides.jsonl", scratch) as opened:
        detect(opened)  # Format.JSONL
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.decoding import HEAD_BYTES, decode_head, lines_in_utf8
from tidings.importing.delimited import HeaderError, read_columns, read_csv
from tidings.importing.feeds import NotAFeedError, read_feed
from tidings.importing.inputs import UNREADABLE, Input, InputError, is_url
from tidings.importing.jsonl import read_jsonl
from tidings.importing.opml import ListError, Outline, read_opml
from tidings.importing.rows import Reject, Row

_FIRST_ELEMENT = re.compile(r"<([A-Za-z_][\w.:-]*)")


class Format(StrEnum):
    """What an input of articles can be."""

    JSONL = "jsonl"
    CSV = "csv"
    FEED = "feed"
    OPML = "opml"


_EXTENSIONS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".rss": Format.FEED,
    ".atom": Format.FEED,
    ".opml": Format.OPML,
}
_ELEMENTS = {"opml": Format.OPML, "rss": Format.FEED, "feed": Format.FEED, "rdf": Format.FEED}


def detect(opened: Input) -> Format:
    """The format of an input, by its name or else by its first bytes.

    Raises:
        InputError: it is none of them, naming what it seems to be.
    """
    told = told_by(opened.url or opened.location)
    if told is not None:
        return told
    found = _detect_text(decode_head(_read_head(opened)).lstrip("\ufeff \t\r\n"))
    if isinstance(found, Format):
        return found
    raise InputError(f"{opened.location}: {found}; --format says which it is: {', '.join(Format)}")


def told_by(location: str) -> Format | None:
    """The format that the name of a file or an address says; None if it says none."""
    path = Path(urlsplit(location).path if is_url(location) else location)
    extension = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    return _EXTENSIONS.get(extension)


def read_list(
    opened: Input, scratch: Path, *, channel: str | None, rules: FetchRules = PUBLIC_ONLY
) -> Iterator[tuple[Outline, Iterator[Row | Reject]]]:
    """Each feed of a list with its rows.

    Args:
        opened: at its start.
        scratch: a folder for downloads.
        channel: of every entry; by default the folder of its feed, or else the feed's own title.
        rules: which machines may be asked for them.

    Raises:
        InputError: it is no list.
    """
    try:
        yield from read_opml(opened.stream, scratch, channel=channel, rules=rules)
    except ListError as ex:
        raise InputError(f"{opened.location}: {ex}") from None


def read_input(opened: Input, format_: Format, *, channel: str | None) -> Iterator[Row | Reject]:
    """Every row of an input that is no list, read as it is asked for.

    Args:
        opened: at its start.
        format_: how to read it.
        channel: for entries of feeds; rows of other formats name their own.

    Raises:
        InputError: it is not of this format at all.
    """
    try:
        match format_:
            case Format.JSONL:
                yield from read_jsonl(lines_in_utf8(opened.stream))
            case Format.CSV:
                yield from read_csv(lines_in_utf8(opened.stream))
            case Format.FEED:
                yield from read_feed(
                    opened.stream, content_type=opened.content_type, url=opened.url, channel=channel
                )
            case Format.OPML:
                raise InputError(f"{opened.location}: is a list of feeds")
    except (HeaderError, NotAFeedError) as ex:
        raise InputError(f"{opened.location}: {ex}") from None


def _read_head(opened: Input) -> bytes:
    """The first bytes; of a file that is damaged further on, as many as come at once."""
    try:
        head = cast(io.BufferedIOBase, opened.stream).read1(HEAD_BYTES)
        opened.stream.seek(0)
    except UNREADABLE as ex:
        raise InputError(f"{opened.location}: {ex}") from None
    return head


def _detect_text(text: str) -> Format | str:
    if text.startswith("{"):
        return Format.JSONL
    if text.startswith("<"):
        return _detect_xml(text)
    if "\x00" not in text and read_columns(_first_line(text)) is not None:
        return Format.CSV
    if text.startswith("["):
        return "is one JSON array; expected an object a line (`jq -c '.[]'` makes that)"
    return "is neither JSONL, CSV with a title column, RSS, Atom nor OPML" if text else "is empty"


def _first_line(text: str) -> str:
    return text.replace("\r", "\n").partition("\n")[0]


def _detect_xml(text: str) -> Format | str:
    element = _FIRST_ELEMENT.search(re.sub(r"<!--.*?(?:-->|$)", "", text, flags=re.DOTALL))
    name = element[1].rpartition(":")[2].lower() if element else "?"
    return _ELEMENTS.get(name, f"begins with <{name}>, which is neither a feed nor OPML")
