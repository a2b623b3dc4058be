"""RSS and Atom as they are found: every entry with what it says, and no feed too broken to be read
at all."""

from __future__ import annotations

import io
import xml.sax.handler
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from feedparser import api as feedparser_api
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.importing import decoding, entries, feeds
from tidings.importing.feeds import NotAFeedError, read_feed
from tidings.importing.rows import Place, Reject, Row, RowError, make_article

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/"
     xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel>
<title>Harbour News</title><link>https://harbour.example/</link>
%s
</channel>
</rss>
"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Lighthouse</title>
<author><name>The Keeper</name></author>
%s
</feed>
"""


def read(document: str | bytes, **options: Any) -> list[Any]:
    data = document.encode() if isinstance(document, str) else document
    return list(read_feed(io.BytesIO(data), **options))


def item(number: int, extra: str = "") -> str:
    return (
        f"<item><title>T{number}</title><guid>urn:{number}</guid>"
        f"<description>D{number}</description>{extra}</item>"
    )


def test_an_rss_entry_with_all_its_fields() -> None:
    """The full content is the body, the description the summary, the feed's title the channel."""
    [row] = read(
        RSS
        % """<item>
  <title>Tide &amp;amp; time &lt;b&gt;today&lt;/b&gt;</title>
  <link>https://harbour.example/1</link>
  <guid isPermaLink="false">1</guid>
  <dc:creator>Una Mooring</dc:creator>
  <pubDate>Sat, 31 Jan 2026 08:30:00 GMT</pubDate>
  <description>&lt;p&gt;In short.&lt;/p&gt;</description>
  <content:encoded><![CDATA[<p onclick="x()">At length.</p><script>x()</script>]]></content:encoded>
  <media:thumbnail url="https://harbour.example/1.png"/>
</item>"""
    )
    assert row == Row(
        Place(line=6, entry=1),
        {
            "id": "1",
            "guid": "1",
            "source": "https://harbour.example/",
            "base": "https://harbour.example/",
            "body_instead": "<p>In short.</p>",
            "title": "Tide & time today",
            "body_html": '<p onclick="x()">At length.</p><script>x()</script>',
            "summary": "In short.",
            "channel": "Harbour News",
            "author": {"name": "Una Mooring"},
            "published": datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
            "url": "https://harbour.example/1",
            "cover": "https://harbour.example/1.png",
        },
    )
    made = make_article(row.values)
    assert made.body == "<p>At length.</p>"
    assert made.source_id == "https://harbour.example/:1"
    assert made.channel_slug == "harbour-news"


def test_an_atom_entry_with_all_its_fields() -> None:
    """An id that is a URI needs no source; the feed's author signs what has no author of its own; a
    title is text."""
    [row] = read(
        ATOM
        % """<entry><title type="text">Use &lt;b&gt; sparingly</title>
<id>tag:lighthouse.example,2026:1</id>
<link href="https://lighthouse.example/1"/><updated>2026-01-31T08:30:00Z</updated>
<content type="html">&lt;p&gt;Lit.&lt;/p&gt;</content></entry>"""
    )
    assert row.values == {
        "id": "tag:lighthouse.example,2026:1",
        "guid": "tag:lighthouse.example,2026:1",
        "body_instead": '<p><a href="https://lighthouse.example/1">lighthouse.example</a></p>',
        "title": "Use <b> sparingly",
        "body_html": "<p>Lit.</p>",
        "channel": "Lighthouse",
        "author": {"name": "The Keeper"},
        "published": datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
        "updated": datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
        "url": "https://lighthouse.example/1",
    }


def test_the_channel_can_be_given() -> None:
    """As a folder of an OPML list or an option does."""
    [row] = read(RSS % item(1), channel="Sea")
    assert row.values["channel"] == "Sea"


def test_a_description_alone_is_the_body() -> None:
    """Its summary is then made from it, as for any article."""
    [row] = read(RSS % item(1))
    assert row.values["body_html"] == "D1"
    assert "summary" not in row.values


def test_feedparsers_sanitiser_is_not_relied_upon() -> None:
    """The body arrives as it was written; the one gate comes later."""
    [row] = read(
        RSS
        % item(1, "<content:encoded>&lt;p style='x' onclick='y'&gt;Hi&lt;/p&gt;</content:encoded>")
    )
    assert row.values["body_html"] == "<p style='x' onclick='y'>Hi</p>"


def test_large_feeds_are_read_in_groups_with_the_right_lines() -> None:
    """Every entry once, in order, at its line, though no more than a group is ever parsed at a
    time."""
    rows = read(RSS % "\n".join(item(number) for number in range(1000)))
    assert [row.values["title"] for row in rows] == [f"T{number}" for number in range(1000)]
    assert [row.place.line for row in rows] == list(range(6, 1006))


@settings(max_examples=20)
@given(
    st.integers(1, 200),
    st.sampled_from(["utf-8", "iso-8859-1", "utf-16"]),
    st.sampled_from(["", "<!-- <item> -->", "\n"]),
)
def test_a_feed_is_the_same_however_its_bytes_fall(
    chunk_bytes: int, encoding: str, between: str
) -> None:
    """Entries that begin, end and break anywhere in a chunk, in several encodings."""
    document = RSS.replace("UTF-8", encoding) % between.join(
        item(number, f"<dc:creator>Zoë {number}</dc:creator>") for number in range(9)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(entries, "GROUP_ENTRIES", 2)
        rows = read(document.encode(encoding), content_type=f"text/xml; charset={encoding}")
    assert [row.values["author"]["name"] for row in rows] == [
        f"Zoë {number}" for number in range(9)
    ]


def test_rss_1_keeps_its_items_beside_the_channel() -> None:
    """RDF, where the channel is closed before the first item."""
    [row] = read(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
        "<channel><title>Old</title></channel><item><title>T</title><link>https://old.example/1</link>"
        "<description>D</description></item></rdf:RDF>"
    )
    assert (row.values["title"], row.values["channel"]) == ("T", "Old")


def test_the_servers_charset_counts() -> None:
    """Where the document does not say."""
    document = (ATOM % "<entry><id>urn:1</id><title>Zoë</title></entry>").encode("iso-8859-1")
    [row] = read(document, content_type="application/atom+xml; charset=ISO-8859-1")
    assert row.values["title"] == "Zoë"


@pytest.mark.parametrize(
    "broken",
    [
        item(1) + item(2) + "<item><guid>urn:3</guid><title>Unclosed</item>",
        item(1) + item(2) + "<item><guid>urn:3</guid><title>1 < 2</title></item>",
    ],
)
def test_a_feed_that_is_not_well_formed_is_read_leniently(broken: str) -> None:
    """What was read before the fault is not read twice."""
    rows = read(RSS % broken)
    assert [row.values["id"] for row in rows] == ["urn:1", "urn:2", "urn:3"]


def test_a_feed_cut_short_gives_the_entries_that_are_whole() -> None:
    """As an interrupted download leaves it. Half an entry without its guid would be another article
    than the whole one, and stay beside it."""
    document = RSS % (item(1) + item(2))
    first, cut = read(document[:-60])
    assert (first.values["id"], cut.reason[:40]) == (
        "urn:1",
        "the feed breaks off in this entry: not w",
    )
    whole = [row.values for row in read(document)]
    for end in range(document.index("</item>") + 7, len(document)):
        rows = read(document[:end])
        assert [row.values for row in rows if isinstance(row, Row)] in ([whole[0]], whole)


def test_a_fault_in_a_feed_too_large_to_mend_is_one_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries before it stand."""
    monkeypatch.setattr(feeds, "MAX_WHOLE_CHARS", 1000)
    rows = read(RSS % ("".join(item(number) for number in range(100)) + "<item>1 < 2</item>"))
    assert isinstance(rows[-1], Reject)
    assert (
        "not well-formed (invalid token), and the feed is too large to be mended" in rows[-1].reason
    )


PIECES = [
    "<",
    ">",
    "&",
    "]]>",
    "<![CDATA[",
    "<!--",
    '"',
    "\x00",
    "é",
    "<item>",
    "</item>",
    "</channel>",
    "<link/>",
    "<enclosure/>",
]
PIECES += [
    "</category>",
    "<pubDate>0000-01-01</pubDate>",
    "<pubDate></pubDate>",
    "<updated>9999-99-99</updated>",
]
PIECES += [
    "<media:content/>",
    "<author>a@b (",
    "<!DOCTYPE x>",
    "<?xml version='1.0' encoding='no-such'?>",
    "&#xd800;",
]


@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.sampled_from(PIECES), st.integers(0, 30)), max_size=6
    )
)
def test_a_feed_broken_anywhere_is_read_or_refused(edits: list[tuple[int, str, int]]) -> None:
    """Trap: on what it did not foresee, feedparser raises KeyError, UnicodeDecodeError,
    anything."""
    document = RSS % (
        item(1) + item(2, "<category>c</category><pubDate>Sat, 31 Jan 2026 08:30:00 GMT</pubDate>")
    )
    for place, piece, removed in edits:
        document = document[:place] + piece + document[place + removed :]
    try:
        rows = read(document)
    except NotAFeedError:
        return
    for row in rows:
        if isinstance(row, Row):
            with suppress(RowError):
                make_article(row.values)


def test_an_empty_feed_has_no_rows() -> None:
    """Which is not an error."""
    assert read(RSS % "") == []
    assert read(ATOM % "") == []


@pytest.mark.parametrize(
    "document",
    ["", "plain words", "<html><body>Not found</body></html>", "<opml/>", b"\xff\xfe\x00"],
)
def test_what_is_no_feed_is_refused(document: str | bytes) -> None:
    """A page that says "not found" with status 200 is the usual case."""
    with pytest.raises(NotAFeedError):
        read(document)


@pytest.mark.parametrize("start", ["<rss><channel>", "<rss version='2.0'><channel><title>T"])
def test_a_feed_that_breaks_off_before_its_first_entry_is_not_empty(start: str) -> None:
    with pytest.raises(NotAFeedError, match="no entry before it breaks off"):
        read(start + "<a>" * 100)


def test_an_element_that_no_feed_needs_is_not_parsed() -> None:
    """Trap: 80,000 attributes on one element took feedparser three minutes."""
    many = " ".join(f'a{number}="1"' for number in range(300))
    before = "".join(item(number) for number in range(50)) + " " * decoding.CHUNK_BYTES
    *rows, reject = read(RSS % (before + f"<item><x {many}/></item>" + item(99)))
    assert len(rows) == 50
    reason = "line 6: an element of 300 attributes"
    assert (reject.place, reject.reason) == (
        Place(entry=51),
        f"{reason}; the rest of the feed was not read",
    )
    with pytest.raises(NotAFeedError, match=reason):
        read(RSS % f"<item><x {many}/></item>")


def test_an_entry_that_is_too_long_costs_itself() -> None:
    """And neither memory nor the entries around it."""
    long = f"<item>\n<guid>urn:long</guid><title>{'y ' * entries.MAX_ENTRY_BYTES}</title></item>\n"
    found = read(RSS % (item(1) + "\n" + long + item(2)))
    assert [row.values["id"] for row in found if isinstance(row, Row)] == ["urn:1", "urn:2"]
    [reject] = [row for row in found if isinstance(row, Reject)]
    assert (reject.place.line, reject.reason) == (
        7,
        f"the entry is longer than {entries.MAX_ENTRY_BYTES} bytes",
    )


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ('<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">', "the entity b is made of others"),
        ('<!ENTITY x SYSTEM "file:///etc/hostname">', "the entity x is external"),
        ('<!ENTITY % x "y">', "the entity x is external"),
        (f'<!ENTITY x "{"y" * 201}">', "the entity x has 201 characters, at most 200"),
        ("<!ENTITY x y>", "an entity is declared in a way that is not understood"),
        ("<!ENTITY x 'y", "a DOCTYPE that does not end"),
    ],
)
def test_entities_that_are_more_than_a_short_text_refuse_the_feed(
    declared: str, reason: str
) -> None:
    """Trap: a few nested entities become gigabytes, and an external one reads our files."""
    rest = (RSS % "<item><title>[&x;]</title><guid>urn:1</guid></item>").split("?>")[1]
    with pytest.raises(NotAFeedError, match=reason):
        read(f"<!DOCTYPE rss [{declared}]>{rest}")


def test_short_entities_are_replaced() -> None:
    """As some programs declare the few that HTML has, and the addresses of namespaces."""
    declared = "<!ENTITY nbsp '&#160;'><!ENTITY paper \"The Harbour's &lt;Sons&gt;\">"
    rest = (RSS % "<item><title>&paper;&nbsp;&amp; more</title></item>").split("?>")[1]
    [row] = read(f"<!DOCTYPE rss [{declared}]>{rest}")
    assert row.values["title"] == "The Harbour's <Sons> & more"


def test_a_text_reaches_feedparser_in_one_piece() -> None:
    """Trap: Python's driver calls once for each line and each reference, hundreds of times an
    entry."""
    pieces: list[str] = []

    class Listener(xml.sax.handler.ContentHandler):
        def characters(self, content: str) -> None:
            pieces.append(content)

    parser = xml.sax.make_parser(["tidings.importing.sax_driver"])
    parser.setContentHandler(Listener())
    parser.parse(io.BytesIO(b"<a>one&lt;br&gt;\ntwo</a>"))
    assert pieces == ["one<br>\ntwo"]
    read(RSS % item(1))
    assert feedparser_api.PREFERRED_XML_PARSERS == ["tidings.importing.sax_driver"]
