"""What feedparser makes of a feed, and is told to leave as it is written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.importing.test_entry_values import article, articles
from tests.unit.importing.test_feeds import ATOM, RSS

MOMENT = datetime(2026, 11, 20, 10, tzinfo=UTC)
PLANET = '<feed xmlns="http://www.w3.org/2005/Atom"><title>Planet</title>%s<entry>%s</entry></feed>'
DC = 'xmlns:dcterms="http://purl.org/dc/terms/"'
ITUNES = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
HOST = f"<itunes:author {ITUNES}>The Host</itunes:author>"
OWNER = f"<itunes:owner {ITUNES}><itunes:name>The Owner</itunes:name></itunes:owner>"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("<author>ada@harbour.example (Ada First)</author>", "Ada First"),
        ("<author>Ada First &lt;ada@harbour.photography&gt;</author>", "Ada First"),
        ("<author>Ada First (ada@mail.harbour.museum)</author>", "Ada First"),
        ("<author>ada@harbour.example</author>", None),
        ("<author>ada@a.example (Ada)</author><author>bo@b.example (Bo)</author>", "Ada"),
        ("<author>bo@b.example</author><dc:creator>Ada First</dc:creator>", "Ada First"),
        ("<author><name>Ada First</name><email>ada@harbour.example</email></author>", "Ada First"),
    ],
)
def test_a_name_is_whole_whatever_its_address_ends_with(written: str, name: str | None) -> None:
    """An ending of more than four letters is no part of the name."""
    assert article(f"<guid>urn:1</guid><title>T</title>{written}").author == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (HOST + OWNER, "The Host"),
        (OWNER + HOST, "The Host"),
        ("<managingEditor>ed@harbour.example (Ed Quay)</managingEditor>", "Ed Quay"),
        ("<webMaster>wm@harbour.example (Web Master)</webMaster>", None),
    ],
)
def test_a_podcast_is_signed_by_its_author_and_not_by_its_owner(
    said: str, name: str | None
) -> None:
    """In either order."""
    item = "<item><guid>urn:1</guid><title>T</title></item>"
    [made] = articles(RSS % (said + item))
    assert made.author == name


def test_an_entry_of_another_feed_is_signed_by_that_feeds_author() -> None:
    """Before the author of the feed that collects (RFC 4287, 4.2.1)."""
    editor = "<author><name>The Collector</name></author>"
    source = "<source><title>S</title><author><name>Ada First</name></author></source>"
    entry = f"<id>urn:1</id><title>T</title>{source}"
    [taken] = articles(PLANET % (editor, entry))
    [own] = articles(PLANET % (editor, f"{entry}<author><name>Bo Second</name></author>"))
    assert (taken.author, taken.title, own.author) == ("Ada First", "T", "Bo Second")


@pytest.mark.parametrize(
    "dates",
    [
        "<pubDate>Fri, 20 Nov 2026 10:00:00 GMT</pubDate><pubDate>soon</pubDate>",
        "<pubDate>Fri, 20 Nov 2026 10:00:00 GMT</pubDate><pubDate/>",
        "<pubDate>soon</pubDate><pubDate>Fri, 20 Nov 2026 10:00:00 GMT</pubDate>",
        f"<dcterms:issued {DC}>2026-11-20T10:00Z</dcterms:issued><pubDate>soon</pubDate>",
        f"<pubDate>soon</pubDate><dcterms:issued {DC}>2026-11-20T10:00Z</dcterms:issued>",
        "<dc:date>2026-11-20T10:00Z</dc:date><dc:date>soon</dc:date><pubDate>soon</pubDate>",
    ],
)
def test_of_several_dates_the_one_that_can_be_read_counts(dates: str) -> None:
    """Wherever it stands among them."""
    assert article(f"<guid>urn:1</guid><title>T</title>{dates}").published_at == MOMENT


def test_a_base_holds_for_its_element_alone() -> None:
    """A text's is not its link's, and a title's is neither's; of two texts each has its own."""
    there = 'xml:base="https://there.example/"'
    entry = (
        f'<id>urn:1</id><title {there}>T</title><link href="/a.html"/>'
        f'<summary {there}>short</summary><content type="html">&lt;img src="b.png"&gt; and '
        '&lt;a href="b.html"&gt;more&lt;/a&gt;</content>'
    )
    [near] = articles(ATOM % f"<entry>{entry}</entry>", url="https://here.example/feed")
    far = entry.replace("<content", f"<content {there}")
    [other] = articles(ATOM % f"<entry>{far}</entry>", url="https://here.example/feed")
    assert (near.url, near.cover) == ("https://here.example/a.html", "https://here.example/b.png")
    assert 'href="https://here.example/b.html"' in near.body
    assert (other.url, other.cover) == (
        "https://here.example/a.html",
        "https://there.example/b.png",
    )
    assert 'href="https://there.example/b.html"' in other.body
