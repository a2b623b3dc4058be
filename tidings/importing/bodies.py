"""Turns the body of an article, which a stranger wrote, into HTML that may stand on our pages.

nh3 is the one gate and the last step, after every other: Markdown may hold HTML, and a feed
parser's own sanitiser is not asked. What is allowed is a short list of what an article needs;
everything else goes, and what runs or embeds goes with its content. Rejected: sanitising when a
page is shown, which must then be remembered by every page, for every reader, for ever.

    from_markdown("The harbour is *full*.")  # "<p>The harbour is <em>full</em>.</p>"
"""

from __future__ import annotations

import html
import re
import unicodedata

import nh3
from markdown_it import MarkdownIt

MAX_CHARS = 512 * 1024
# An HTML parser's time grows with the square of the nesting: this many unclosed tags take about a
# second.
MAX_TAGS = 20_000
SUMMARY_CHARS = 300

_WORDS = "abbr b cite code del dfn em i ins kbd mark q s samp small span strong sub sup time u var"
_BLOCKS = (
    "blockquote br dd details div dl dt figcaption figure h1 h2 h3 h4 h5 h6 hr li ol p pre "
    "summary ul"
)
_TABLES = "caption table tbody td tfoot th thead tr"
_TAGS = frozenset(f"a img {_WORDS} {_BLOCKS} {_TABLES}".split())
_RUN = "applet button canvas object script select style template textarea"
_EMBED = "audio embed frameset head iframe math noembed noframes noscript svg title video xmp"
_DROPPED_WITH_CONTENT = frozenset(f"{_RUN} {_EMBED}".split())
# NOTE: no `cite`, which nh3 allows by default and does not check: cite="javascript:…" would pass.
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "time": {"datetime"},
}
# HTML has formatting that was left open begin again in every later block, once for each tag that
# differs: 27 kB of <b x=1><b x=2>… became 28 MB. None of these may keep an attribute, and without
# attributes at most three of a kind begin again (the "Noah's Ark clause" of the parsing rules).
_FORMATTING = re.compile(
    r"<(b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\b[^>]*>", re.IGNORECASE | re.ASCII
)
_SCHEMES = frozenset({"http", "https", "mailto"})
_LINK_REL = "nofollow noopener noreferrer"
# A picture that is kept here is named without a site, which nh3 drops or gives to the base. So it
# goes through under a name that no site can have (RFC 2606).
_OWN_PICTURE = re.compile(r"""(\bsrc\s*=\s*["']?)/images/(?=[0-9a-f]{64}\b)""", re.ASCII)
_OWN_PICTURES = "https://images.invalid/"
_BLOCK_EDGE = re.compile(
    r"</?(?:p|div|li|d[dt]|h\d|blockquote|pre|t[dhr]|figcaption|caption|summary)\b|<[bh]r\b"
)
# Of sanitised HTML only, where no attribute holds a bare ">".
_TAG = re.compile(r"<[^>]*>")
_HEADING = re.compile(r"<h([1-6])>.*?</h\1>", re.DOTALL)
_HTML_START = re.compile(
    r"<(?:p|div|article|section|h[1-6]|ul|ol|table|figure|blockquote)[\s>]", re.IGNORECASE
)
# Controls, marks that have no width, and the three kinds of spaces.
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
# A full stop, perhaps a closing quote or bracket, and a space; the ideographic stops need no space.
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+|(?<=[\u3002\uff01\uff1f])")

# "commonmark" with the two additions every writer expects; HTML inside is nh3's business.
_markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class BodyError(ValueError):
    """The body is too large to be an article."""


def from_markdown(text: str, base_url: str | None = None) -> str:
    """Safe HTML of a Markdown text. Relative links are taken from `base_url`, and dropped without
    one; `/images/…` is a picture that is kept here.

    Raises:
        BodyError: it is too large.
    """
    _check_length(text)
    return _sanitise(_markdown.render(text), base_url)


def from_html(text: str, base_url: str | None = None) -> str:
    """Safe HTML of untrusted HTML. Relative links are taken from `base_url`, and dropped without
    one.

    Raises:
        BodyError: it is too large.
    """
    _check_length(text)
    return _sanitise(text, base_url)


def looks_like_html(text: str) -> bool:
    """True if a body said to be Markdown begins with a block of HTML, and so is HTML from end to
    end."""
    return _HTML_START.match(text.lstrip()) is not None


def is_blank(body: str) -> bool:
    """True if sanitised HTML shows nothing: no word and no picture."""
    return "<img" not in body and not is_visible(html.unescape(_TAG.sub("", body)))


def is_visible(text: str) -> bool:
    """False for a text of nothing but spaces and marks that have no width."""
    return any(unicodedata.category(char) not in _UNSEEN for char in text)


def plain_text(markup: str) -> str:
    """The words of a piece of HTML in one line, for a title or a summary.

    Raises:
        BodyError: it is too large.
    """
    spaced = _BLOCK_EDGE.sub(r"\n\g<0>", _tame(markup))
    words = nh3.clean(spaced, tags=frozenset(), clean_content_tags=_DROPPED_WITH_CONTENT)
    return " ".join(html.unescape(words).split())


def summarise(body: str) -> str:
    """A summary for an article that has none: the first sentences of its sanitised body, without
    the headings."""
    return shorten(plain_text(_HEADING.sub("", body)) or plain_text(body), SUMMARY_CHARS)


def shorten(text: str, limit: int) -> str:
    """The first sentences of a text that fit into `limit` characters; of a longer first one, its
    first words."""
    if len(text) <= limit:
        return text
    end = 0
    for found in _SENTENCE_END.finditer(text, 0, limit + 1):
        end = found.end()
    if end:
        return text[:end].rstrip()
    cut = text[: limit - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,;:-\u2013\u2014") + "…"


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARS:
        raise BodyError(f"{len(text)} characters, at most {MAX_CHARS}")


def _tame(markup: str) -> str:
    """The same HTML without what would cost a parser more than its size deserves."""
    if markup.count("<") > MAX_TAGS:
        raise BodyError(f"more than {MAX_TAGS} tags")
    # What is after the last ">" is no tag; looking for its end from every "<" would be quadratic.
    end = markup.rfind(">") + 1
    return _FORMATTING.sub(r"<\1>", markup[:end]) + markup[end:]


def _sanitise(markup: str, base_url: str | None) -> str:
    tame = _OWN_PICTURE.sub(rf"\1{_OWN_PICTURES}", _tame(markup))
    try:
        safe = _clean(tame, base_url)
    except ValueError:  # The base is no URL to nh3's stricter parser.
        safe = _clean(tame, None)
    # What a parser made of broken HTML is often no valid HTML when written down: a paragraph in a
    # paragraph, say. Parsed once more it is, and every browser then sees what was checked.
    return _clean(safe, None).replace(f'src="{_OWN_PICTURES}', 'src="/images/')


def _clean(markup: str, base_url: str | None) -> str:
    return nh3.clean(
        markup,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel=_LINK_REL,
        url_relative=("rewrite_with_base", base_url) if base_url else "deny",
        set_tag_attribute_values={"img": {"loading": "lazy"}},
    ).strip()
