"""Turns content into documents: HTML by templates, feeds and sitemaps by an XML writer.

Everything in a template is escaped but an article's body, which was sanitised when it came in. XML is built as a tree:
a feed with one stray `&` is no feed, and nobody's eye finds it in a template. What a document cannot hold (control
characters) is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import format_datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET  # builds documents, never reads one

import jinja2

from jobs.pages.content import Section, Story, Teaser

ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
SITEMAP_URLS = 40_000
FEED_LENGTH = 50
TITLE = "Tidings"
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Renderer:
    """Documents of one site.

    Args:
        site_url: where the pages are served, without a last slash.
    """

    def __init__(self, site_url: str) -> None:
        self._site_url = site_url.rstrip("/")
        folder = files("jobs.pages")
        self._sources = {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".html")}
        environment = jinja2.Environment(
            loader=jinja2.DictLoader(self._sources),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_speakable,
        )
        environment.globals |= {"site_title": TITLE, "site_url": self._site_url}
        environment.filters |= {"day": _day, "iso": _iso}
        self._pages = {name: environment.get_template(name) for name in self._sources}

    @property
    def edition(self) -> str:
        """Changes whenever the same content would be rendered in another way."""
        parts = (version("tidings"), self._site_url, *(self._sources[name] for name in sorted(self._sources)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def article(self, story: Story, section: Section) -> bytes:
        return self._page("article.html", story=story, section=section, path=story.teaser.path)

    def listing(self, section: Section, teasers: Sequence[Teaser], number: int, last: int) -> bytes:
        return self._page("channel.html", section=section, teasers=teasers, number=number, last=last)

    def home(self, sections: Sequence[Section], newest: Sequence[Teaser]) -> bytes:
        return self._page("home.html", sections=sections, newest=newest, names={part.id: part for part in sections})

    def atom(self, title: str, path: str, page: str, teasers: Sequence[Teaser]) -> bytes:
        root = ET.Element("feed", xmlns=ATOM)
        own = f"{self._site_url}/{path}"
        newest = max((teaser.updated_at for teaser in teasers), default=None)
        _add(root, "id", own)
        _add(root, "title", title)
        _add(root, "updated", _iso(newest) if newest else "1970-01-01T00:00:00Z")
        _add(root, "link", rel="self", type="application/atom+xml", href=own)
        _add(root, "link", rel="alternate", type="text/html", href=f"{self._site_url}/{page}")
        for teaser in teasers:
            entry = ET.SubElement(root, "entry")
            _add(entry, "id", self._tag(teaser))
            _add(entry, "title", teaser.title)
            _add(entry, "link", rel="alternate", type="text/html", href=f"{self._site_url}/{teaser.path}")
            _add(entry, "published", _iso(teaser.published_at))
            _add(entry, "updated", _iso(max(teaser.updated_at, teaser.published_at)))
            _add(entry, "summary", teaser.summary)
            _add(ET.SubElement(entry, "author"), "name", teaser.author or TITLE)
        return _document(root)

    def rss(self, path: str, teasers: Sequence[Teaser]) -> bytes:
        root = ET.Element("rss", {"version": "2.0", "xmlns:atom": ATOM})
        channel = ET.SubElement(root, "channel")
        heads = {"title": TITLE, "link": f"{self._site_url}/", "description": f"The newest articles of {TITLE}"}
        for name, value in heads.items():
            ET.SubElement(channel, name).text = value
        ET.SubElement(channel, "atom:link", rel="self", type="application/rss+xml", href=f"{self._site_url}/{path}")
        for teaser in teasers:
            item = ET.SubElement(channel, "item")
            ET.SubElement(item, "title").text = _speakable(teaser.title)
            ET.SubElement(item, "link").text = f"{self._site_url}/{teaser.path}"
            ET.SubElement(item, "guid", isPermaLink="false").text = self._tag(teaser)
            ET.SubElement(item, "pubDate").text = format_datetime(teaser.published_at, usegmt=True)
            ET.SubElement(item, "description").text = _speakable(teaser.summary)
        return _document(root)

    def sitemaps(self, pages: Iterable[tuple[str, datetime]]) -> dict[str, bytes]:
        """path → document: the index and as many sitemaps as the format's limit asks for."""
        listed = list(pages)
        documents: dict[str, bytes] = {}
        index = ET.Element("sitemapindex", xmlns=SITEMAP)
        for number, start in enumerate(range(0, max(len(listed), 1), SITEMAP_URLS), 1):
            root = ET.Element("urlset", xmlns=SITEMAP)
            for path, moment in listed[start : start + SITEMAP_URLS]:
                url = ET.SubElement(root, "url")
                ET.SubElement(url, "loc").text = f"{self._site_url}/{path.removesuffix('index.html')}"
                ET.SubElement(url, "lastmod").text = _iso(moment)
            documents[f"sitemap-{number}.xml"] = _document(root)
            entry = ET.SubElement(index, "sitemap")
            ET.SubElement(entry, "loc").text = f"{self._site_url}/sitemap-{number}.xml"
        return documents | {"sitemap.xml": _document(index)}

    def _tag(self, teaser: Teaser) -> str:
        # An id must outlive a move of the site to another scheme; a tag URI names the article, not its address.
        host = urlsplit(self._site_url).hostname or "localhost"
        return f"tag:{host},2026:article/{teaser.id}"

    def _page(self, name: str, **values: Any) -> bytes:
        return self._pages[name].render(**values).encode()


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = None if text is None else _speakable(text)


def _document(root: ET.Element) -> bytes:
    document: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return document + b"\n"


def _speakable(value: Any) -> Any:
    if isinstance(value, str) and _UNSPEAKABLE.search(value):
        return type(value)(_UNSPEAKABLE.sub("", value))
    return value


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
