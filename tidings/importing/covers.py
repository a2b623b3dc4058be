"""The picture that an entry of a feed names as its own.

Media RSS says it in three ways, RSS by an enclosure, podcasts in their words, and most blogs not at
all: then it is the first picture of the text that is large enough. Nothing is fetched here; a
picture that says its size and is too small is passed over. Rejected: the feed's own logo, which
would stand on every card.

    find_cover(parsed.entries[0], body, "https://harbour.example/")
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tidings.importing.links import http_address
from tidings.importing.parts import part, parts, text

# Narrower ones look torn on a card.
MIN_WIDTH = 200
_PICTURE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif)$", re.IGNORECASE)
# Of what says neither its type nor its medium.
_NO_PICTURE = re.compile(
    r"\.(?:mp[34]|m4[av]|mov|avi|webm|og[agv]|wav|flac|m3u8?|pdf|html?|php|zip|swf|svg)$",
    re.IGNORECASE,
)
_IMG = re.compile(r"<img\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""(?<![a-z-])([a-z-]++)\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE
)


def find_cover(entry: Any, body: str, base: str | None) -> str | None:
    """The address of the entry's picture, absolute; None if it has none.

    Args:
        entry: feedparser's dictionary of it.
        body: its text as HTML, not sanitised.
        base: what relative addresses are relative to.
    """
    for written in (*_named(entry), *_in_text(body)):
        if address := http_address(written, base):
            return address
    return None


def _named(entry: Any) -> Iterator[str]:
    media = [medium for medium in parts(entry, "media_content") if _may_be_picture(medium)]
    # The widest, by its own word; the first of those that do not say.
    widest_first = sorted(media, key=_width, reverse=True)
    for medium in (*widest_first, *parts(entry, "media_thumbnail")):
        if _is_large(medium):
            yield text(medium, "url")
    for link in parts(entry, "links"):
        if text(link, "rel") == "enclosure" and (
            text(link, "type").startswith("image/") or _PICTURE.search(_path(link))
        ):
            yield text(link, "href")
    yield text(part(entry, "image"), "href")


def _in_text(body: str) -> Iterator[str]:
    for picture in _IMG.finditer(body):
        attributes = {
            name.lower(): html.unescape(next(filter(None, values), ""))
            for name, *values in _ATTRIBUTE.findall(picture[1])
        }
        if _is_large(attributes) and not attributes.get("src", "data:").startswith("data:"):
            yield attributes["src"]


def _may_be_picture(medium: Mapping[str, Any]) -> bool:
    said = text(medium, "medium") or text(medium, "type").partition("/")[0]
    return said == "image" or (not said and not _NO_PICTURE.search(_path(medium)))


def _is_large(medium: Mapping[str, Any]) -> bool:
    """False for what says that it is too small."""
    return not 0 <= _number(medium, "width") < MIN_WIDTH and _number(medium, "height") != 1


def _width(medium: Mapping[str, Any]) -> int:
    return _number(medium, "width")


def _number(medium: Mapping[str, Any], field: str) -> int:
    digits = re.match(r"\s*(\d{1,5})(?![\d.\s]*%)", str(medium.get(field) or ""))
    return int(digits[1]) if digits else -1


def _path(medium: Mapping[str, Any]) -> str:
    try:
        return urlsplit(text(medium, "url") or text(medium, "href")).path
    except ValueError:
        return ""
