"""What an entry of a feed becomes, field by field: the world's ways of writing it on the left, what
is stored on the right."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.importing.test_feeds import ATOM, RSS, read
from tidings.importing.feeds import NotAFeedError, open_feed
from tidings.importing.rows import NewArticle, Reject, Row, RowError, make_article
from tidings.news.storing import LENGTHS

PAGE = "https://harbour.example/"


def articles(document: str | bytes, **options: Any) -> list[NewArticle]:
    rows = read(document, **options)
    assert all(isinstance(row, Row) for row in rows), rows
    return [make_article(row.values) for row in rows]


def article(entry: str, **options: Any) -> NewArticle:
    """The article of one RSS item."""
    [made] = articles(RSS % f"<item>{entry}</item>", **options)
    return made


def test_an_entry_without_a_title_has_its_first_words() -> None:
    """As microblogs write."""
    made = article("<guid>urn:1</guid><description>&lt;p&gt;Low tide.&lt;/p&gt;</description>")
    assert (made.title, made.body) == ("Low tide.", "<p>Low tide.</p>")
    long = article(f"<guid>urn:1</guid><description>{'word ' * 99}</description>")
    assert long.title.endswith("word…")
    assert len(long.title) <= 100


@pytest.mark.parametrize(
    "body", ["", "<description/>", "<description>&lt;script&gt;x()&lt;/script&gt;</description>"]
)
def test_an_entry_without_a_body_is_a_link(body: str) -> None:
    """As link blogs write."""
    made = article(f"<title>T</title><link>https://www.quay.example/1</link>{body}")
    assert made.body == (
        '<p><a href="https://www.quay.example/1" rel="nofollow noopener noreferrer">'
        "quay.example</a></p>"
    )
    assert made.summary == "quay.example"


def test_an_entry_with_a_title_alone_is_its_title() -> None:
    """It cannot be less."""
    assert article("<title>Fog</title>").body == "<p>Fog</p>"


def test_an_entry_without_a_word_has_the_name_of_its_feed() -> None:
    """A picture alone, a link alone; but nothing at all is no article."""
    picture = "<description>&lt;img src='/a.jpg'&gt;</description>"
    for entry in (picture, "<link>/a.html</link>"):
        assert article(entry).title == "Harbour News"
    [nothing] = read(RSS % "<item><guid>urn:1</guid></item>")
    with pytest.raises(RowError, match="title: missing"):
        make_article(nothing.values)


@pytest.mark.parametrize(
    "title", ["", "\u200b\u200d", "&#160;&#xAD;", "\u2060\ufeff", "&amp;nbsp;"]
)
def test_a_title_that_shows_nothing_is_none(title: str) -> None:
    """Marks without a width are not seen on a card."""
    body = "<guid>urn:1</guid><description>Low tide.</description>"
    assert article(f"<title>{title}</title>{body}").title == "Low tide."
    with pytest.raises(RowError, match="title: missing"):
        make_article({"title": "\u200b", "body": "Words.", "channel": "Harbour"})


@pytest.mark.parametrize(
    "blank", ["<p> </p>", "<p>&nbsp;</p><br>", "<script>x()</script>", "<iframe src='/v'></iframe>"]
)
def test_a_content_that_shows_nothing_gives_way_to_the_description(blank: str) -> None:
    """However much there is of it before it is sanitised."""
    made = article(
        "<title>T</title><link>/1</link><guid>urn:1</guid><description>High tide, &lt;a "
        f"href='b.html'&gt;at noon&lt;/a&gt;.</description><content:encoded><![CDATA[{blank * 9}]]>"
        "</content:encoded>"
    )
    assert made.body.startswith('High tide, <a href="https://harbour.example/b.html"')
    assert made.summary == "High tide, at noon."


def test_the_words_of_a_picture_in_an_entry_are_not_the_entrys() -> None:
    """As some feeds have a whole image in each item."""
    picture = "<image><title>A boat</title><url>/b.jpg</url><link>/boats</link></image>"
    made = article(f"<title>High tide</title><link>/1</link><guid>urn:1</guid>{picture}")
    assert (made.title, made.url) == ("High tide", f"{PAGE}1")


def test_a_title_of_two_megabytes_is_shortened() -> None:
    """The article is kept."""
    made = article(f"<title>{'tide ' * 400_000}</title><guid>urn:1</guid>")
    assert len(made.title) <= LENGTHS.title
    assert made.title.endswith("tide…")


def test_a_title_of_nothing_but_tags_costs_nothing() -> None:
    """Neither an entry's nor a feed's, of which both are read as text."""
    tags = "&lt;b&gt;&lt;/b&gt;" * 30_000
    [made] = articles((RSS % f"<item><title>T{tags}</title></item>").replace("News", tags))
    assert (made.title, made.channel_name) == ("T", "Harbour")


def test_a_picture_in_letters_is_no_text() -> None:
    """Atom may hold any document."""
    contents = '<content type="image/png">iVBORw0KGgo=</content><summary>Words.</summary>'
    [made] = articles(ATOM % f"<entry><id>urn:1</id><title>T</title>{contents}</entry>")
    assert made.body == "<p>Words.</p>"


@pytest.mark.parametrize(
    "name",
    [
        *("authors", "links", "link", "content", "media_content", "media_thumbnail", "enclosures"),
        *("title_detail", "summary_detail", "summary", "image", "id", "language", "guidislink"),
        *("published", "updated", "created", "author", "author_detail", "tags", "href", "base"),
    ],
)
@pytest.mark.parametrize("written", ["<{0}>x</{0}>", "<{0} a='b'>x</{0}>", "<{0} a='b'/>"])
def test_an_element_of_any_name_costs_no_article(name: str, written: str) -> None:
    """Trap: feedparser keeps what it does not know under its own name, where its lists stand."""
    for where in ("<title>T</title>{}<link>/a</link>", "{}<title>T</title><link>/a</link>"):
        made = article(where.format(written.format(name)))
        assert made.title == "T"


@pytest.mark.parametrize("mark", ["&lt;", "&lt;/", "&amp;"])
def test_a_title_that_is_one_open_tag_costs_no_more_than_its_size(mark: str) -> None:
    """Looking for its end from each of its letters would take longer than any test."""
    assert article(f"<title>{mark}{'a' * 500_000}</title><link>/1</link>").title


def test_a_zero_that_came_by_base64_costs_no_article() -> None:
    """The document was mended before it was decoded."""
    entry = '<title type="text" mode="base64">QQBC</title><link>/1</link>'
    assert article(entry).title == "AB"


def test_decoration_that_is_too_long_costs_no_article() -> None:
    """It is shortened, or left out."""
    made = article(
        f"<title>T</title><guid>urn:1</guid><dc:creator>{'Ann Other and ' * 50}</dc:creator>"
        f"<link>{PAGE}{'l' * 1100}</link><description>{'word ' * 500}</description>"
        f'<media:content url="{PAGE}{"c" * 1100}.jpg"/>'
    )
    assert (made.url, made.cover) == (None, None)
    assert made.author is not None
    [long] = articles((RSS % "<item><title>T</title></item>").replace("Harbour News", "News " * 99))
    assert long.channel_name.startswith("News News")


@pytest.mark.parametrize("name", ["🌊", "For you", "", "🌊" * 300 + "a", f"For you. {'x' * 200}"])
def test_a_feed_without_a_name_that_can_be_a_channels_has_its_hosts(name: str) -> None:
    """An emoji, the name of all channels together, nothing."""
    [made] = articles((RSS % "<item><title>T</title></item>").replace("Harbour News", name))
    assert made.channel_name == "Harbour.example"


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("<link>/a.html</link>", PAGE + "a.html"),
        ("<link>a.html</link>", PAGE + "a.html"),
        ("<link>//quay.example/a</link>", "https://quay.example/a"),
        ("<link>  https://quay.example/a\n</link>", "https://quay.example/a"),
        ("<link>https://quay.example/a b</link>", "https://quay.example/a%20b"),
        (
            "<link>https://quay.example/?a=1&b=2&copy=3</link>",
            "https://quay.example/?a=1&b=2&copy=3",
        ),
        ("<link><![CDATA[https://quay.example/?a=1&b=2]]></link>", "https://quay.example/?a=1&b=2"),
        ("<guid>https://quay.example/a</guid>", "https://quay.example/a"),
        ('<guid isPermaLink="false">https://quay.example/a</guid>', None),
        ("<guid>news-1</guid>", None),
        ("<link>/a.html</link><guid>https://quay.example/a</guid>", PAGE + "a.html"),
        ("<guid>https://quay.example/a</guid><link>/a.html</link>", PAGE + "a.html"),
        ("<link>\u200bhttps://quay.example/a\ufeff</link>", "https://quay.example/a"),
        (
            '<a:link xmlns:a="http://www.w3.org/2005/Atom" href="https://quay.example/a" rel="" />',
            "https://quay.example/a",
        ),
        ("<link>javascript:alert(1)</link>", None),
        ("<link>https://[::1</link>", None),
    ],
)
def test_a_link_is_absolute_or_absent(link: str, address: str | None) -> None:
    """Relative ones are taken from the feed's page; a guid is a link only where it is an
    address."""
    assert article(f"<title>T</title>{link}").url == address


def test_bases_are_those_of_xml_then_of_the_page_then_of_the_document() -> None:
    """For links, for pictures and for links within the text."""
    html = '<content type="html">&lt;img src="i.png"&gt;</content>'
    entry = f'<entry><id>urn:1</id><title>T</title><link href="a"/>{html}</entry>'
    page = '<link href="https://page.example/p/"/>'
    where = "https://document.example/d/feed"
    based = (ATOM % entry).replace("<feed", '<feed xml:base="https://base.example/b/"')
    for document, base in (
        (ATOM % entry, "https://document.example/d/"),
        (ATOM % (page + entry), "https://page.example/p/"),
        (ATOM % (entry + page), "https://page.example/p/"),
        (based, "https://base.example/b/"),
        (based.replace("<entry", '<entry xml:base="x/"'), "https://base.example/b/x/"),
    ):
        [made] = articles(document, url=where)
        assert (made.url, made.cover) == (f"{base}a", f"{base}i.png")
        assert made.body == f'<img src="{base}i.png" loading="lazy">'


def test_the_first_link_to_a_page_is_the_entrys() -> None:
    """Not the feed of its comments, nor the same in another form."""
    links = (
        '<link rel="replies" href="/replies"/><link type="application/json" href="/json"/>'
        '<link href="/page"/><link hreflang="fr" href="/fr"/>'
    )
    [made] = articles(ATOM % f"<entry><id>urn:1</id><title>T</title>{links}</entry>", url=PAGE)
    assert made.url == PAGE + "page"


DAY = datetime(2026, 1, 31, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dates", "published", "changed"),
    [
        ("<pubDate>Sat, 31 Jan 2026 13:00:00 CET</pubDate>", NOON, None),
        ("<pubDate>31/01/2026</pubDate>", None, None),
        ("<pubDate>yesterday</pubDate><dc:date>2026-01-31T12:00Z</dc:date>", NOON, NOON),
        ("<dc:date>2026-01-31</dc:date>", DAY, DAY),
        ("<dcterms:created>2026-01-31</dcterms:created>", DAY, None),
        ("<dcterms:issued>2026-01-31</dcterms:issued>", DAY, None),
        ("<dcterms:modified>2026-01-31</dcterms:modified>", DAY, DAY),
        ("<created>2026-01-31</created><updated>2026-01-31T12:00Z</updated>", DAY, NOON),
        ("<pubDate>Sat, 31 Jan 2026 12:00:00 XYZ</pubDate>", None, None),
        ("<pubDate>Fri, 31 Jan 0026 12:00:00 GMT</pubDate>", None, None),
        ("<pubDate/>", None, None),
    ],
)
def test_a_date_that_cannot_be_read_gives_way_to_the_next(
    dates: str, published: datetime | None, changed: datetime | None
) -> None:
    """And at last to the moment of first sight, never to a guess."""
    document = RSS.replace("<rss", '<rss xmlns:dcterms="http://purl.org/dc/terms/"')
    [made] = articles(document % f"<item><title>T</title>{dates}</item>")
    assert (made.published_at, made.changed_at) == (published, changed)


def entry_of(number: int, guid: str = "same", link: str = "", more: str = "") -> str:
    return f"<item><title>T{number}</title><guid>{guid}</guid>{link}{more}</item>"


def test_a_guid_on_several_entries_identifies_none() -> None:
    """Their links do, and where there is none, title and date."""
    linked = [entry_of(n, link=f"<link>{PAGE}{n}</link>") for n in range(2)]
    bare = [entry_of(n) for n in range(2, 4)]
    dated = [entry_of(9, more=f"<pubDate>2026-01-{day}</pubDate>") for day in (30, 31)]
    own = entry_of(5, guid="own")
    made = articles(RSS % "".join([*linked, *bare, *dated, own]))
    assert [one.url for one in made[:2]] == [f"{PAGE}0", f"{PAGE}1"]
    assert [one.guid for one in (*made[:2], made[6])] == [None, None, "own"]
    assert len({one.source_id for one in made}) == 7
    assert len({one.guid for one in made[2:]}) == 5
    again = articles(RSS % "".join([*linked, *bare, *dated, own]))
    assert [one.source_id for one in again] == [one.source_id for one in made]


def test_what_names_several_entries_identifies_none_in_any_format() -> None:
    """An rdf:about as a guid; a link, where there is no guid. A guid that one entry has twice is
    its own all the same."""
    rdf = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns="http://purl.org/rss/1.0/"><channel><title>C</title></channel>%s</rdf:RDF>'
    )
    abouts = articles(
        rdf
        % "".join(
            f'<item rdf:about="urn:all"><title>T{n}</title><link>{PAGE}{n}</link></item>'
            for n in range(3)
        )
    )
    assert [made.source_id for made in abouts] == [f"{PAGE}{n}" for n in range(3)]
    front = "".join(f"<item><title>T{n}</title><link>/</link></item>" for n in range(3))
    assert len({made.source_id for made in articles(RSS % front)}) == 3
    twice = "".join(
        f"<item><title>T</title><guid>urn:{n}</guid><atom:id "
        f'xmlns:atom="http://www.w3.org/2005/Atom">urn:{n}</atom:id></item>'
        for n in range(2)
    )
    assert [made.guid for made in articles(RSS % twice)] == ["urn:0", "urn:1"]


def test_repeated_guids_are_seen_in_a_feed_that_is_not_well_formed_too() -> None:
    """Up to where it breaks."""
    made = articles(RSS % (entry_of(1) + entry_of(2) + "<item><title>1 < 2</title></item>"))
    assert made[0].source_id != made[1].source_id


@pytest.mark.parametrize(
    ("feed", "entry", "language"),
    [
        ("<language>de-at</language>", "", "de-at"),
        ("<language>de_AT</language>", "", "de-AT"),
        ("<language>de</language>", "<dc:language>fr</dc:language>", "fr"),
        ("<language>de</language>", '<title xml:lang="ar">T</title>', "ar"),
        ("<language>the language of the sea</language>", "", None),
        ("", "", None),
    ],
)
def test_an_entrys_language_is_its_own_or_its_feeds(
    feed: str, entry: str, language: str | None
) -> None:
    """If it is written as languages are."""
    title = "" if "<title" in entry else "<title>T</title>"
    [made] = articles(RSS % f"{feed}<item>{title}{entry}</item>")
    assert made.language == language


def test_a_feed_says_of_itself_what_stands_behind_its_entries() -> None:
    """And only what is its own: no picture's title, no extension's link."""
    head = '<rss version="2.0" xmlns:a="http://www.w3.org/2005/Atom"><channel>'
    image = "<image><title>Logo</title><link>https://logo.example/</link></image>"
    link = '<a:link rel="self" href="https://harbour.example/rss"/>'
    own = "<title>Tom &amp;amp; Sons</title><link>/home</link><language>fr</language>"
    document = f"{head}{link}{image}<item><title>T</title></item>{own}</channel></rss>"
    feed = open_feed(io.BytesIO(document.encode()), url=PAGE + "rss")
    assert (feed.title, feed.link, feed.language) == ("Tom & Sons", PAGE + "home", "fr")
    [row] = feed.rows()
    assert row.values["channel"] == "Tom & Sons" if isinstance(row, Row) else row


def test_what_follows_the_feed_is_not_looked_at() -> None:
    """A cache's remark, a counter's script."""
    document = RSS % "<item><title>T</title></item>"
    [made] = articles(document + "<!-- 12 ms --><script>count()</script>")
    assert made.title == "T"


def test_words_before_the_feed_are_passed_over() -> None:
    """Of the program that should have made it."""
    [made] = articles("<br/><b>Warning</b>: feed()\n" + RSS % "<item><title>T</title></item>")
    assert made.title == "T"


MUTATIONS = st.tuples(
    st.integers(0, 1200),
    st.integers(0, 40),
    st.sampled_from(
        [
            "",
            "<",
            ">",
            "&",
            "&#0;",
            "&x;",
            "]]>",
            "<![CDATA[",
            "<!--",
            "<item>",
            "</item>",
            "\x00",
            "<!DOCTYPE x [<!ENTITY a '&b;'>]>",
            "<link>",
            "</title>",
            "\ufeff",
            '"',
            "é",
            "\ud7ff",
            "<pubDate>9999-99-99</pubDate>",
            "<guid>1</guid>",
            "xml:base='://'",
            "xmlns:a='b'",
        ]
    ),
)
WHOLE = RSS % "".join(
    f"<item><title>T{number} &amp; more</title><link>/a?b=1&amp;c={number}</link>"
    f"<guid>{number}</guid><pubDate>Sat, 31 Jan 2026 08:30:00 GMT</pubDate>"
    f'<dc:creator>U &amp; V</dc:creator><media:content url="/{number}.jpg"/>'
    f"<description><![CDATA[<p>Words <img src='/i.png'>]]></description></item>"
    for number in range(3)
)


@given(st.lists(MUTATIONS, max_size=5), st.sampled_from(["utf-8", "utf-16", "cp1252"]))
def test_no_mutation_of_a_feed_is_more_than_a_refusal(
    mutations: list[tuple[int, int, str]], encoding: str
) -> None:
    """Every entry is an article that can be stored, or a reject with a reason; a document that is
    none is refused as a whole."""
    document = WHOLE
    for at, removed, put in mutations:
        document = document[:at] + put + document[at + removed :]
    try:
        found = read(document.encode(encoding, "replace"), url=PAGE)
    except NotAFeedError:
        return
    for row in found:
        if isinstance(row, Reject):
            assert row.reason
        elif row.values.keys() & {"title", "body_html", "url"}:
            make_article(row.values)


@given(st.binary(max_size=300), st.text(max_size=20))
def test_any_bytes_are_a_feed_or_none(data: bytes, charset: str) -> None:
    """Whatever the server calls them."""
    try:
        read(data, content_type=f"text/xml; charset={charset}", url=PAGE)
    except NotAFeedError:
        return
