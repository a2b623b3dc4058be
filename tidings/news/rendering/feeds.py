"""What other programs read of the site: feeds as Atom and as RSS, sitemaps, robots.txt.

XML is built as a tree: a feed with one stray `&` is no feed, and no eye finds it in a template.
Rejected: whole articles in a feed; a feed of 50 would be megabytes, and what was taken down would
stay whole in the programs that fetched it.

    Feeds(Masthead(url="https://news.example")).atom(None, teasers)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET  # builds documents, never reads one

from tidings.news.rendering.characters import address_of, speakable
from tidings.news.rendering.content import Entry, Section, Teaser
from tidings.news.rendering.masthead import Masthead

ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"


class Feeds:
    """Documents for programs, of one site.

    Args:
        masthead: what the site says of itself.
    """

    def __init__(self, masthead: Masthead) -> None:
        self._masthead = masthead

    def robots(self, _: Sequence[Teaser]) -> bytes:
        """Everything may be found."""
        return f"User-agent: *\nDisallow:\n\nSitemap: {self._url('sitemap.xml')}\n".encode()

    def atom(self, section: Section | None, teasers: Sequence[Teaser]) -> bytes:
        """The newest of a channel, or of all."""
        mine = self._masthead
        root = ET.Element("feed", {"xmlns": ATOM, "xml:lang": mine.language})
        path = section.atom_path if section else "feed.atom"
        newest = max((_last_change(teaser.entry) for teaser in teasers), default=None)
        _add(root, "id", self._url(path))
        _add(root, "title", self._title(section))
        if mine.tagline:
            _add(root, "subtitle", mine.tagline)
        _add(root, "updated", iso(newest) if newest else "1970-01-01T00:00:00Z")
        _add(root, "link", rel="self", type="application/atom+xml", href=self._url(path))
        page = self._url(section.path if section else "index.html")
        _add(root, "link", rel="alternate", type="text/html", href=page)
        if mine.has_logo:
            _add(root, "logo", self._url("logo.png"))
        for teaser in teasers:
            self._add_entry(root, teaser)
        return _document(root)

    def rss(self, section: Section | None, teasers: Sequence[Teaser]) -> bytes:
        """The newest of a channel, or of all."""
        mine = self._masthead
        root = ET.Element("rss", {"version": "2.0", "xmlns:atom": ATOM})
        channel = ET.SubElement(root, "channel")
        path = section.rss_path if section else "feed.rss"
        newest = f"The newest articles of {self._title(section)}"
        heads = {
            "title": self._title(section),
            "link": self._url(section.path if section else "index.html"),
            "description": newest if section else mine.tagline or newest,
            "language": mine.language,
        }
        for name, value in heads.items():
            _add(channel, name, value)
        _add(channel, "atom:link", rel="self", type="application/rss+xml", href=self._url(path))
        for teaser in teasers:
            item = ET.SubElement(channel, "item")
            _add(item, "title", teaser.title)
            _add(item, "link", self._url(teaser.entry.path))
            _add(item, "guid", self._tag(teaser.entry), isPermaLink="false")
            _add(item, "category", teaser.entry.section.name)
            _add(item, "pubDate", format_datetime(teaser.entry.published_at, usegmt=True))
            _add(item, "description", teaser.summary)
        return _document(root)

    def sitemap(self, listed: Sequence[tuple[str, Entry]]) -> bytes:
        """Paths, and the articles whose changes change them."""
        root = ET.Element("urlset", xmlns=SITEMAP)
        for path, entry in listed:
            url = ET.SubElement(root, "url")
            _add(url, "loc", self._url(path))
            _add(url, "lastmod", iso(entry.updated_at))
        return _document(root)

    def sitemap_index(self, sitemaps: Mapping[str, datetime]) -> bytes:
        """Of sitemaps' paths and their newest moments."""
        root = ET.Element("sitemapindex", xmlns=SITEMAP)
        for path, moment in sitemaps.items():
            entry = ET.SubElement(root, "sitemap")
            _add(entry, "loc", self._url(path))
            _add(entry, "lastmod", iso(moment))
        return _document(root)

    def _add_entry(self, root: ET.Element, teaser: Teaser) -> None:
        entry = ET.SubElement(root, "entry")
        if teaser.language:
            entry.set("xml:lang", speakable(teaser.language))
        page = self._url(teaser.entry.path)
        _add(entry, "id", self._tag(teaser.entry))
        _add(entry, "title", teaser.title)
        _add(entry, "link", rel="alternate", type="text/html", href=page)
        _add(entry, "published", iso(teaser.entry.published_at))
        _add(entry, "updated", iso(_last_change(teaser.entry)))
        _add(entry, "category", term=teaser.entry.section.slug, label=teaser.entry.section.name)
        _add(entry, "summary", teaser.summary)
        author = teaser.entry.author or self._masthead.name
        _add(ET.SubElement(entry, "author"), "name", author)

    def _title(self, section: Section | None) -> str:
        return f"{self._masthead.name}: {section.name}" if section else self._masthead.name

    def _url(self, path: str) -> str:
        return self._masthead.url + address_of(path)

    def _tag(self, entry: Entry) -> str:
        # An id must outlive a move of the site to another scheme; a tag URI names the article, not
        # its address.
        host = urlsplit(self._masthead.url).hostname or "localhost"
        return f"tag:{host},2026:article/{entry.id}"


def iso(moment: datetime) -> str:
    """A moment in UTC as RFC 3339 has it."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _last_change(entry: Entry) -> datetime:
    return max(entry.updated_at, entry.published_at)


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> None:
    spoken = {name: speakable(value) for name, value in attributes.items()}
    ET.SubElement(parent, tag, spoken).text = None if text is None else speakable(text)


def _document(root: ET.Element) -> bytes:
    document: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return document + b"\n"
