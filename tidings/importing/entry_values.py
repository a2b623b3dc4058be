"""What one entry of a feed says, field by field, in the words that a row has.

A feed's owner cannot mend a row that was refused, as the author of a file can, so here decoration
never costs an article: what is too long is shortened, and a date, a link, a picture or an author
that makes no sense is left out. feedparser's readings of dates, authors and links are passed over
for the strings beneath them: it takes unknown zones for UTC and every entry's last link for its
own.

    entry_values(parsed.entries[0], says)["title"]
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tidings.importing.bodies import is_visible, plain_text, shorten
from tidings.importing.bylines import first_author
from tidings.importing.covers import find_cover
from tidings.importing.links import SCHEME, http_address, is_page
from tidings.importing.moments import parse_moment
from tidings.importing.parsing import ENTRY_BASE
from tidings.importing.parts import Part, part, parts, text
from tidings.importing.rows import make_slug
from tidings.news.channels import FOR_YOU
from tidings.news.storing import LENGTHS

SUMMARY_CHARS = 1000
# As much of the first words as stands on a card's title.
FIRST_WORDS_CHARS = 100
# Far more than any title or summary keeps, and too few for more tags than are read.
_READ_CHARS = 20_000
# Possessive, as all that reads a stranger's words: what does not match is not tried twice.
_MARKUP = re.compile(r"</\w++>|<\w[^<>]*+>|&#?\w++;")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_XHTML = "application/xhtml+xml"
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSays:
    """What an entry takes from the feed it stands in.

    Attributes:
        channel: for its entries; may be empty.
        link: its page, as written there.
        base: what relative addresses are relative to, if the entry names no base.
        language: as written there.
        author: feedparser's dictionary of the feed, with its author.
        repeated: guids that stand on several of its entries.
        repeated_links: links that do, absolute.
        address: where it came from.
    """

    channel: str
    link: str
    base: str | None
    language: str
    author: Part
    repeated: AbstractSet[str]
    repeated_links: AbstractSet[str]
    address: str | None


def entry_values(entry: Any, says: FeedSays) -> dict[str, object]:
    """The entry as the values of a row; what it does not say is absent.

    Raises:
        BodyError: its text is too large to be read.
    """
    base = http_address(text(entry, ENTRY_BASE), says.base) or says.base
    told, summary, body_instead = _body_and_summary(entry)
    body, body_base = _html(told), http_address(text(told, "base"), says.base) or base
    link = _link(entry, base)
    published = _moment(entry, "published", "created", "updated")
    channel = _channel(says, link)
    # A picture without a word, or a link alone, has the name of the place it stands in.
    title = _title(entry) or _first_words(body) or (channel if link or body else "")
    values: dict[str, object] = {
        "title": title,
        "body_html": body,
        "body_instead": body_instead or _instead(link, title),
        "base": body_base,
        "summary": summary,
        "channel": channel,
        "author": _author(entry, says),
        "published": published,
        "updated": _moment(entry, "updated"),
        "url": link,
        "cover": find_cover(entry, body, base=base, body_base=body_base),
        "language": _language(entry) or says.language,
        **_identity(entry, says, link, title, published),
    }
    return {field: _legible(value) for field, value in values.items() if value}


def words(detail: Part) -> str:
    """The beginning of a piece of a feed as text in one line; markup is taken for markup only where
    there is some."""
    value = text(detail, "value")[:_READ_CHARS]
    is_text = text(detail, "type") == "text/plain" or not _MARKUP.search(value)
    return _SPACE.sub(" ", value if is_text else plain_text(value)).strip()


def _legible(value: object) -> object:
    """Without what no text holds, which base64 brings past the mending of the document."""
    if isinstance(value, dict):
        return {field: _legible(part) for field, part in value.items()}
    return _NO_TEXT.sub("", value) if isinstance(value, str) else value


def _identity(
    entry: Any, says: FeedSays, link: str | None, title: str, published: datetime | None
) -> dict[str, object]:
    """What the entry is called. A guid that stands on several entries says nothing, and the link
    has to do; without one, or with one that does too, the title and the date."""
    guid = _SPACE.sub(" ", text(entry, "id")).strip()
    if guid in says.repeated:
        guid = ""
    if not guid and (not link or link in says.repeated_links):
        moment = published.isoformat() if published else ""
        guid = "sha256:" + hashlib.sha256(f"{title}\n{moment}".encode()).hexdigest()
    identity = guid or link or ""
    # "123" is some other article in some other feed; a URI is the same everywhere.
    own = None if SCHEME.match(identity) else says.link or says.address or says.channel
    return {"guid": guid, "id": identity, "source": own}


def _author(entry: Any, says: FeedSays) -> dict[str, str] | None:
    # By RFC 4287, 4.2.1: its own, that of the feed it was taken from, that of the feed it is in.
    holders = (entry, part(entry, "source"), says.author)
    name = next((name for holder in holders if (name := first_author(holder))), None)
    # As an object, whose name is one name, whatever stands in it.
    return {"name": name} if name else None


def _title(entry: Any) -> str:
    written, detail = text(entry, "title"), part(entry, "title_detail")
    # The detail may be that of a picture in the entry.
    title = words(detail if text(detail, "value") == written else {"value": written})
    if not is_visible(title):
        return ""
    return title if len(title) <= LENGTHS.title else shorten(title, LENGTHS.title)


def _first_words(body: str) -> str:
    return shorten(plain_text(body), FIRST_WORDS_CHARS)


def _instead(link: str | None, title: str) -> str:
    """The body of an entry that has none: its link, by the name of the place it leads to."""
    if link is None:
        return f"<p>{html.escape(title)}</p>" if title else ""
    name = (urlsplit(link).hostname or "").removeprefix("www.")
    return f'<p><a href="{html.escape(link)}">{html.escape(name)}</a></p>'


def _channel(says: FeedSays, link: str | None) -> str:
    """The feed's name, short enough; where nothing of it can stand in an address, its host."""
    name = _short_name(says.channel)
    if make_slug(name) in ("", FOR_YOU.slug):
        name = _short_name(urlsplit(says.base or link or "").hostname or "")
    return name


def _short_name(name: str) -> str:
    while len(name) > LENGTHS.channel_name or len(make_slug(name)) > LENGTHS.channel_slug:
        name = shorten(name, min(len(name) - 1, LENGTHS.channel_slug))
    return name


def _body_and_summary(entry: Any) -> tuple[Part, str | None, str]:
    """The fullest content there is; the summary as text, if it is another text; and the summary as
    HTML, for a content of which nothing is left once it is sanitised."""
    described = part(entry, "summary_detail")
    contents = [content for content in parts(entry, "content") if _is_text(content)]
    if not contents:
        return described, None, ""
    told = max(contents, key=lambda content: len(_html(content)))
    summary = shorten(words(described), SUMMARY_CHARS)
    if not summary:
        return told, None, ""
    is_other = summary != plain_text(_html(told))[: len(summary)]
    return told, summary if is_other else None, _html(described)


def _is_text(content: Part) -> bool:
    """False for what Atom may hold besides: a picture in letters, a document of another kind."""
    kind = text(content, "type") or "text/html"
    return bool(text(content, "value")) and kind in ("text/plain", "text/html", _XHTML)


def _html(detail: Part) -> str:
    value = text(detail, "value")
    if text(detail, "type") == "text/plain":
        # Many feeds call HTML plain; the sanitiser will see to it either way.
        paragraphs = re.split(r"\n\s*\n", value)
        return (
            value if "<" in value else "".join(f"<p>{words}</p>" for words in paragraphs if words)
        )
    return value


def _details(entry: Any) -> list[Part]:
    return [*parts(entry, "content"), part(entry, "summary_detail"), part(entry, "title_detail")]


def _link(entry: Any, base: str | None) -> str | None:
    """The entry's page. A guid stands for it only where it is an address."""
    links = [link for link in parts(entry, "links") if is_page(text(link, "rel"))]
    pages = [link for link in links if "html" in (text(link, "type") or "text/html")]
    for link in (*pages, *links):
        if address := _fitting(http_address(link.get("href"), base), LENGTHS.url):
            return address
    if dict.get(entry, "guidislink") and not any(text(page, "href") for page in pages):
        return _fitting(http_address(text(entry, "id"), None), LENGTHS.url)
    return None


def _fitting(address: str | None, longest: int) -> str | None:
    return address if address and len(address) <= longest else None


def _moment(entry: Any, *fields: str) -> datetime | None:
    """The first of these fields that can be read."""
    for field in fields:
        try:
            return parse_moment(text(entry, field))
        except ValueError:
            continue
    return None


def _language(entry: Any) -> str:
    own = [text(holder, "language") for holder in (entry, *_details(entry))]
    return next((language for language in own if language), "")
