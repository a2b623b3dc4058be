"""Documents that are not quite XML, and what of them is mended: an ampersand, a character, the
words before the feed, and nothing else."""

from __future__ import annotations

import itertools
import xml.sax.saxutils
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.mending import EntityError, mend


def mended(document: str) -> str:
    return "".join(mend([document]))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("R&D", "R&amp;D"),
        ("AT&T, M&S & B&Q", "AT&amp;T, M&amp;S &amp; B&amp;Q"),
        ("a &b; c", "a &amp;b; c"),
        ("?a=1&b=2&copy=3&lang=en", "?a=1&amp;b=2&amp;copy=3&amp;lang=en"),
        ("&amp; &lt; &quot; &apos; &gt;", "&amp; &lt; &quot; &apos; &gt;"),
        ("&eacute;&nbsp;&hellip;", "é\u00a0…"),
        ("&AMP;&LT;", "&amp;&lt;"),
        ("&#38; &#x26;", "&#38; &#x26;"),
        ("&#0; &#xD800; &#x110000; &#55357;", "\ufffd \ufffd \ufffd \ufffd"),
        ("It&#146;s &#x85;", "It’s …"),
        ("&#99999999999;", "&amp;#99999999999;"),
        ("&#; &#x; &;", "&amp;#; &amp;#x; &amp;;"),
        ("a\x00b\x0bc\ufffed", "abcd"),
        ("<![CDATA[R&D &nbsp;]]>&x", "<![CDATA[R&D &nbsp;]]>&amp;x"),
        ("<!-- R&D -->&x", "<!-- R&D -->&amp;x"),
        ("<?php R&D ?>&x", "<?php R&D ?>&amp;x"),
        ("<b c='?a&b'/>", "<b c='?a&amp;b'/>"),
        ("<![CDATA[ open &", "<![CDATA[ open &"),
    ],
)
def test_only_what_no_parser_takes_is_changed(written: str, meant: str) -> None:
    """Addresses and titles stay as they are written."""
    assert mended(f"<rss>{written}") == f"<rss>{meant}"


@pytest.mark.parametrize(
    "before",
    [
        "\n\n  ",
        "\ufeff",
        '<?xml version="1.0" encoding="koi8-r"?>\n',
        '\n<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?>\n',
        "<!-- made by a program & its author -->",
        '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://my.example/rss.dtd">',
        "<br />\n<b>Warning</b>: mend() in /var/www on line 1<br />\n<?xml version='1.0'?>",
        "Notice: undefined index\n",
        "<!doctype rss>",
    ],
)
def test_what_stands_before_the_feed_is_left_out(before: str) -> None:
    """But for its line breaks, so that an entry keeps its line."""
    assert mended(before + "<rss>x</rss>") == "\n" * before.count("\n") + "<rss>x</rss>"


def test_a_page_about_feeds_is_no_feed() -> None:
    """Though one is shown on it."""
    page = "<!doctype html><html><pre><rss></pre>"
    assert mended(page).startswith("<html>")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("&#233;", "é"),
        ("https://harbour.example/ns#", "https://harbour.example/ns#"),
        ("&#38;#60;", "&lt;"),
        ("&lt;b&gt;", "&lt;b&gt;"),
        ("Sons & Daughters", "Sons &amp; Daughters"),
    ],
)
def test_a_short_entity_is_replaced_by_its_text(value: str, meant: str) -> None:
    """In text and in addresses of namespaces."""
    document = f'<!DOCTYPE rss [\n<!ENTITY x "{value}">\n]><rss y="&x;">&x;</rss>'
    assert mended(document) == f'\n\n<rss y="{meant}">{meant}</rss>'


def test_nested_entities_are_refused_before_anything_is_read() -> None:
    """However they are spelt."""
    with pytest.raises(EntityError, match="the entity b is made of others"):
        mended("<!DOCTYPE rss [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><rss/>")


ALPHABET = "ab;&#x10<>[]!-?CDATA\n\x00'\"="


@given(st.text(ALPHABET, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_a_document_is_mended_the_same_in_pieces(text: str, cuts: list[int]) -> None:
    """A reference or an opening may lie across them."""
    document = "<rss>" + text
    edges = [0, *sorted(min(cut, len(document)) for cut in cuts), len(document)]
    pieces = [document[start:end] for start, end in itertools.pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidings.importing.mending.PROLOG_CHARS", 5)
        try:
            assert "".join(mend(iter(pieces))) == mended(document)
        except EntityError:
            return


@given(st.text(max_size=80))
def test_any_words_between_tags_are_xml_in_the_end(words: str) -> None:
    """If no angle bracket stands in them, every strict parser takes them."""
    said = words.replace("<", "").replace(">", "")
    parser = expat.ParserCreate("utf-8")
    parser.Parse(mended(f"<rss>{said}</rss>").encode(), True)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80))
def test_what_is_xml_stays_as_it_is(words: str) -> None:
    """Letter by letter."""
    said = xml.sax.saxutils.escape(words.replace("\ufffe", "").replace("\uffff", ""))
    assert mended(f"<rss>{said}</rss>") == f"<rss>{said}</rss>"
