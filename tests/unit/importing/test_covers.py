"""The picture of an entry, in the ways that feeds name it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.importing.test_feeds import ATOM, RSS, read
from tidings.importing.covers import find_cover

BASE = "https://harbour.example/"


def cover_of(extra: str, body: str = "Words.", document: str = RSS) -> Any:
    description = f"<description><![CDATA[{body}]]></description>"
    if document is ATOM:
        description = f'<content type="html"><![CDATA[{body}]]></content>'
        [row] = read(document % f"<entry><id>urn:1</id>{description}{extra}</entry>", url=BASE)
    else:
        [row] = read(document % f"<item><guid>urn:1</guid>{description}{extra}</item>")
    return row.values.get("cover")


@pytest.mark.parametrize(
    "extra",
    [
        '<media:content url="/a.jpg" type="image/jpeg"/>',
        '<media:content url="/a.jpg" medium="image"/>',
        '<media:content url="/a.jpg"/>',
        '<media:group><media:content url="/a.jpg"/></media:group>',
        '<media:content url="/a.mp4" type="video/mp4"/><media:thumbnail url="/a.jpg"/>',
        '<media:thumbnail url="/a.jpg"/>',
        '<media:thumbnail url="/s.jpg" width="320"/><media:thumbnail url="/a.jpg" width="640"/>',
        '<media:content url="/a.jpg" type="jpg"/>',
        '<media:content url="/a.jpg" width="0" height="0"/>',
        '<media:content url="/s.svg" type="image/svg+xml"/><media:thumbnail url="/a.jpg"/>',
        '<media:content url="/s.svg" medium="image"/><media:thumbnail url="/a.jpg"/>',
        f'<media:content url="/{"s" * 1100}.jpg"/><media:thumbnail url="/a.jpg"/>',
        '<media:content url="/s.jpg" width="300"/><media:content url="/a.jpg" width="900"/>',
        '<media:content url="/icon.png" width="32"/><media:thumbnail url="/a.jpg" width="640"/>',
        '<enclosure url="/a.jpg" type="image/jpeg" length="1"/>',
        '<enclosure url="/a.jpg" type="" length="1"/>',
        '<enclosure url="/a.mp3" type="audio/mpeg"/><enclosure url="/a.jpg" type="image/jpeg"/>',
        '<itunes:image xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" href="/a.jpg"/>',
    ],
)
def test_an_entry_names_its_picture(extra: str) -> None:
    """With its type or without it, relative to the feed's page."""
    assert cover_of(extra) == BASE + "a.jpg"


@pytest.mark.parametrize(
    "body",
    [
        '<p>Words. <img src="/a.jpg"></p>',
        "<IMG alt='x > y' SRC='a.jpg' width=640>",
        '<img src="data:image/gif;base64,R0"><img src="/a.jpg"/>',
        '<img src="/pixel.gif" width="1" height="1"><img src="/a.jpg">',
        '<img src="/smile.png" width="16"><img src=/a.jpg width="100%">',
        '<img width="600"><img src="https://harbour.example/a.jpg">',
        '<!-- <img src="/old.jpg"> --><img src="/a.jpg">',
        '<img src="/pixel.gif" style="width: 1px; height: 1px"><img src="/a.jpg">',
        '<img src="/logo.svg?v=1"><img src="/a.jpg">',
    ],
)
def test_else_it_is_the_first_large_picture_of_the_text(body: str) -> None:
    """By its own word: no icon, no pixel that counts readers, nothing inline."""
    assert cover_of("", body) == BASE + "a.jpg"
    assert cover_of("", body, ATOM) == BASE + "a.jpg"


@pytest.mark.parametrize(
    "extra",
    [
        "",
        '<media:content url="/a.mp4" type="video/mp4"/>',
        '<media:content url="/a.mp4"/>',
        '<media:thumbnail url="/a.jpg" width="75"/>',
        "<media:thumbnail/>",
        '<media:content url="javascript:alert(1)" medium="image"/>',
        '<media:content url="http://[::1" medium="image"/>',
        f'<media:content url="/{"a" * 1100}.jpg" medium="image"/>',
        '<enclosure url="/a.mp3" type="audio/mpeg"/>',
    ],
)
def test_what_is_no_picture_is_no_cover(extra: str) -> None:
    """And no reason to refuse the article."""
    assert cover_of(extra) is None


def test_an_address_with_an_ampersand_stays_as_it_is() -> None:
    """Bare or not."""
    for written in ("/a.jpg?w=900&h=600", "/a.jpg?w=900&amp;h=600"):
        assert cover_of(f'<media:content url="{written}"/>') == BASE + "a.jpg?w=900&h=600"


def test_a_picture_of_half_a_megabyte_of_attributes_costs_no_more_than_its_size() -> None:
    """Looking for an equals sign from each letter of a name would take longer than any test."""
    for costly in (f"<img {'a-' * 250_000}>", "<img src='/b.jpg'>" + "<!--" * 100_000):
        body = f"{costly}<img src='/b.jpg'>"
        assert find_cover({}, body, base=None, body_base=BASE) == BASE + "b.jpg"
