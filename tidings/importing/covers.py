"""The picture that an entry of a feed names as its own.

Media RSS says it in three ways, RSS by an enclosure, podcasts in their words, and most blogs not at
all: then it is the first picture of the text that is large enough. Nothing is fetched here; a
picture that says its size and is too small is passed over. Rejected: the feed's own logo, which
would stand on every card.

    find_cover(parsed.entries[0], body, base="https://harbour.example/", body_base=None)
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from tidings.importing.links import http_address
from tidings.importing.parts import part, parts, text
from tidings.news.storing import LENGTHS

# Narrower ones look torn on a card.
MIN_WIDTH = 200
_PICTURE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif)$", re.IGNORECASE)
# Of what says neither its type nor its medium.
_NO_PICTURE = re.compile(
    r"\.(?:mp[34]|m4[av]|mov|avi|webm|og[agv]|wav|flac|m3u8?|pdf|html?|php|zip|swf|svg)$",
    re.IGNORECASE,
)
_STYLED = re.compile(r"(?<![\w-])(width|height)\s*:\s*(\d{1,5})px", re.IGNORECASE)
# What is never kept as a picture, and would be shown of nothing else then.
_DRAWING = re.compile(r"\.svgz?(?:$|[?#])", re.IGNORECASE)
_KINDS = frozenset({"image", "video", "audio", "text", "application"})
# A picture in a comment is none; a comment that does not end is the rest.
_IMG = re.compile(
    r"<!--(?:.*?-->|.*+)|<img\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>", re.IGNORECASE | re.DOTALL
)
_ATTRIBUTE = re.compile(
    r"""(?<![a-z-])([a-z-]++)\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE
)


def find_cover(entry: Any, body: str, *, base: str | None, body_base: str | None) -> str | None:
    """The address of the entry's picture, absolute; None if it has none that can be stored.

    Args:
        entry: feedparser's dictionary of it.
        body: its text as HTML, not sanitised.
        base: what relative addresses are relative to.
        body_base: the same, of those in the text.
    """
    named = (http_address(written, base) for written in _named(entry))
    in_text = (http_address(written, body_base) for written in _in_text(body))
    fitting = (found for found in chain(named, in_text) if found and len(found) <= LENGTHS.cover)
    return next(fitting, None)


def _named(entry: Any) -> Iterator[str]:
    for name in ("media_content", "media_thumbnail"):
        media = [medium for medium in parts(entry, name) if _may_be_picture(medium)]
        # The widest, by its own word; the first of those that do not say.
        for medium in sorted(media, key=_width, reverse=True):
            if _is_large(medium):
                yield text(medium, "url")
    for link in parts(entry, "links"):
        is_picture = _said(link) == "image" or _PICTURE.search(_path(link))
        if text(link, "rel") == "enclosure" and is_picture and not _is_drawing(link):
            yield text(link, "href")
    yield text(part(entry, "image"), "href")


def _in_text(body: str) -> Iterator[str]:
    for picture in _IMG.finditer(body):
        if picture[1] is None:
            continue
        attributes = {
            name.lower(): html.unescape(next(filter(None, values), ""))
            for name, *values in _ATTRIBUTE.findall(picture[1])
        }
        for name, value in _STYLED.findall(attributes.get("style", "")):
            attributes.setdefault(name.lower(), value)
        address = attributes.get("src", "data:")
        is_picture = not address.startswith("data:") and not _DRAWING.search(address)
        if is_picture and _is_large(attributes):
            yield address


def _may_be_picture(medium: Mapping[str, Any]) -> bool:
    if _is_drawing(medium):
        return False
    said = text(medium, "medium").lower() or _said(medium)
    return said == "image" or (not said and not _NO_PICTURE.search(_path(medium)))


def _said(medium: Mapping[str, Any]) -> str:
    """The kind that a type names; empty if it is written as no type is."""
    kind, slash, _ = text(medium, "type").lower().partition("/")
    return kind if slash or kind in _KINDS else ""


def _is_drawing(medium: Mapping[str, Any]) -> bool:
    type_ = text(medium, "type").lower()
    return type_.startswith("image/svg") or _DRAWING.search(_path(medium)) is not None


def _is_large(medium: Mapping[str, Any]) -> bool:
    """False for what says that it is too small; of no width at all is what does not know it."""
    return not 0 < _number(medium, "width") < MIN_WIDTH and _number(medium, "height") != 1


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
