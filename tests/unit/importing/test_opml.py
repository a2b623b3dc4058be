"""Lists of feeds."""

from __future__ import annotations

import io

import pytest

from tidings.importing.opml import ListError, Outline, parse_opml


def parse(document: str | bytes) -> list[Outline]:
    return parse_opml(io.BytesIO(document.encode() if isinstance(document, str) else document))


def test_feeds_are_listed_with_their_folder_and_line() -> None:
    """A folder is an outline around them; nested ones count from the inside."""
    assert parse(
        """<?xml version="1.0"?>
<opml version="2.0"><head><title>Mine</title></head><body>
<outline text="Sea"><outline text="Coast">
<outline type="rss" text="Harbour" xmlUrl=" https://harbour.example/feed "/>
</outline></outline>
<outline title="Loose" text="x" xmlUrl="https://loose.example/feed"/>
<outline text="no feed"/>
</body></opml>"""
    ) == [
        Outline(4, "https://harbour.example/feed", "Harbour", "Coast"),
        Outline(6, "https://loose.example/feed", "Loose", None),
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("<rss/>", "the document is <rss>, not <opml>"),
        ("", "not well-formed XML, line 1: no element found"),
        ("<opml>\n<body>", "not well-formed XML, line 2: no element found"),
        (
            "<!DOCTYPE opml [<!ENTITY a SYSTEM 'file:///etc/hostname'>]><opml/>",
            "the entity a is external",
        ),
        ("<opml>" + " " * 4 * 1024 * 1024, "more than 4194304 bytes"),
    ],
)
def test_what_is_no_list_is_refused_with_the_reason(document: str, reason: str) -> None:
    """One line that says where."""
    with pytest.raises(ListError, match=reason):
        parse(document)


@pytest.mark.parametrize(
    ("document", "address"),
    [
        (
            '<opml><body><outline text="A & B" xmlUrl="https://a.example/?a=1&b=2"/></body></opml>',
            "https://a.example/?a=1&b=2",
        ),
        (
            '<!DOCTYPE opml SYSTEM "opml.dtd"><opml><outline xmlURL="https://a.example/"/></opml>',
            "https://a.example/",
        ),
        (
            '<opml><outline xmlUrl="https://a.example/"/></opml>\n<script>x()</script>',
            "https://a.example/",
        ),
        (
            '<OPML><Outline TYPE="RSS" URL="https://a.example/"/></OPML>',
            "https://a.example/",
        ),
        (
            '<opml><outline type="rss" url="https://a.example/"/></opml>',
            "https://a.example/",
        ),
        (
            """<?xml version='1.0' encoding='shift_jis'?>
            <opml><outline text='\u6d77' xmlUrl='https://a.example/'/></opml>""",
            "https://a.example/",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_that_is_not_quite_xml_is_read(document: str, address: str, encoding: str) -> None:
    """Bare ampersands, a DOCTYPE, and names that other programs use for the address."""
    if "shift_jis" in document and encoding == "utf-8":
        encoding = "shift_jis"
    assert [outline.address for outline in parse(document.encode(encoding))] == [address]


def test_an_outline_that_links_to_a_page_is_no_feed() -> None:
    """Its `url` is for people."""
    assert parse('<opml><outline type="link" url="https://a.example/"/></opml>') == []
