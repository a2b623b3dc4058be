"""Turns content into documents: HTML by templates, feeds and sitemaps by an XML writer.

Everything in a template is escaped but an article's body, which was sanitised when it came in. XML
is built as a tree: a feed with one stray `&` is no feed, and no eye finds it in a template.
What a document cannot hold (control characters) is left out.

    Renderer("https://news.example").article(story)  # the whole file, as bytes
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET  # builds documents, never reads one

import jinja2
from markupsafe import Markup

from jobs.pages.content import Entry, Section, Story, Teaser
from jobs.pages.outline import fit_into_page

ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
TITLE = "Tidings"
# All but controls, surrogates and noncharacters, which are errors in HTML and most of them in XML.
# The common ranges come first: this looks at every character of the site.
_UNSPEAKABLE = re.compile(
    "[^\\n\\t -~\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd"
    + "".join(f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


class Renderer:
    """Documents of one site.

    Args:
        site_url: where the pages are served, without a last slash.
    """

    def __init__(self, site_url: str) -> None:
        self._site_url = site_url.rstrip("/")
        folder = files("jobs.pages")
        sources = {
            file.name: file.read_text("utf-8")
            for file in folder.iterdir()
            if file.name.endswith((".html", ".py"))
        }
        # In each file rather than beside them: a page needs nothing else to be fetched.
        theme = files("tidings.web").joinpath("theme.css").read_text("utf-8")
        parts = (self._site_url, theme, *(sources[name] for name in sorted(sources)))
        self._edition = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        # Compiled on first use: most builds need none of the templates, or two.
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader(
                {name: text for name, text in sources.items() if name.endswith(".html")}
            ),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "site_title": TITLE,
            "site_url": self._site_url,
            "theme": Markup(theme),  # noqa: S704 - our own file
        }
        self._environment.filters |= {"day": _day, "iso": _iso, "address": _address}

    @property
    def edition(self) -> str:
        """Changes whenever the same content would be rendered in another way."""
        return self._edition

    def article(self, story: Story) -> bytes:
        entry = story.teaser.entry
        body = Markup(fit_into_page(story.body))  # noqa: S704 - sanitised when it came in
        return self._page("article.html", story=story, entry=entry, body=body, path=entry.path)

    def listing(
        self, section: Section, number: int, has_newer: bool, teasers: Sequence[Teaser]
    ) -> bytes:
        """One of the pages that hold all articles of a channel; page 1 has the oldest."""
        newer = f"{section.folder}/page-{number + 1}.html" if has_newer else None
        older = f"{section.folder}/page-{number - 1}.html" if number > 1 else None
        return self._page(
            "channel.html",
            section=section,
            teasers=teasers,
            number=number,
            newer=newer,
            older=older,
        )

    def front(self, section: Section, last: int, teasers: Sequence[Teaser]) -> bytes:
        """The newest articles of a channel, and the way to all of them."""
        all_of_them = f"{section.folder}/page-{last}.html"
        return self._page(
            "channel.html",
            section=section,
            teasers=teasers,
            number=0,
            newer=None,
            older=all_of_them,
        )

    def home(self, sections: Sequence[Section], teasers: Sequence[Teaser]) -> bytes:
        return self._page("home.html", sections=sections, teasers=teasers)

    def not_found(self, _: Sequence[Teaser]) -> bytes:
        return self._page("404.html")

    def robots(self, _: Sequence[Teaser]) -> bytes:
        return f"User-agent: *\nDisallow:\n\nSitemap: {self._site_url}/sitemap.xml\n".encode()

    def section_atom(self, section: Section, teasers: Sequence[Teaser]) -> bytes:
        return self._atom(f"{TITLE}: {section.name}", section.feed_path, section.path, teasers)

    def atom(self, teasers: Sequence[Teaser]) -> bytes:
        return self._atom(TITLE, "feed.atom", "index.html", teasers)

    def rss(self, teasers: Sequence[Teaser]) -> bytes:
        root = ET.Element("rss", {"version": "2.0", "xmlns:atom": ATOM})
        channel = ET.SubElement(root, "channel")
        heads = {
            "title": TITLE,
            "link": f"{self._site_url}/",
            "description": f"The newest articles of {TITLE}",
        }
        for name, value in heads.items():
            _add(channel, name, value)
        _add(
            channel, "atom:link", rel="self", type="application/rss+xml", href=self._url("feed.rss")
        )
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
            _add(url, "lastmod", _iso(entry.updated_at))
        return _document(root)

    def sitemap_index(self, sitemaps: Mapping[str, datetime]) -> bytes:
        """Of sitemaps' paths and their newest moments."""
        root = ET.Element("sitemapindex", xmlns=SITEMAP)
        for path, moment in sitemaps.items():
            entry = ET.SubElement(root, "sitemap")
            _add(entry, "loc", self._url(path))
            _add(entry, "lastmod", _iso(moment))
        return _document(root)

    def _atom(self, title: str, path: str, page: str, teasers: Sequence[Teaser]) -> bytes:
        root = ET.Element("feed", xmlns=ATOM)
        newest = max((_last_change(teaser.entry) for teaser in teasers), default=None)
        _add(root, "id", self._url(path))
        _add(root, "title", title)
        _add(root, "updated", _iso(newest) if newest else "1970-01-01T00:00:00Z")
        _add(root, "link", rel="self", type="application/atom+xml", href=self._url(path))
        _add(root, "link", rel="alternate", type="text/html", href=self._url(page))
        for teaser in teasers:
            entry = ET.SubElement(root, "entry")
            _add(entry, "id", self._tag(teaser.entry))
            _add(entry, "title", teaser.title)
            _add(
                entry, "link", rel="alternate", type="text/html", href=self._url(teaser.entry.path)
            )
            _add(entry, "published", _iso(teaser.entry.published_at))
            _add(entry, "updated", _iso(_last_change(teaser.entry)))
            _add(entry, "category", term=teaser.entry.section.slug, label=teaser.entry.section.name)
            _add(entry, "summary", teaser.summary)
            _add(ET.SubElement(entry, "author"), "name", teaser.entry.author or TITLE)
        return _document(root)

    def _url(self, path: str) -> str:
        return self._site_url + _address(path)

    def _tag(self, entry: Entry) -> str:
        # An id must outlive a move of the site to another scheme; a tag URI names the article, not
        # its address.
        host = urlsplit(self._site_url).hostname or "localhost"
        return f"tag:{host},2026:article/{entry.id}"

    def _page(self, name: str, **values: Any) -> bytes:
        page = self._environment.get_template(name).render(**values)
        return _UNSPEAKABLE.sub("", page).encode()


def _last_change(entry: Entry) -> datetime:
    return max(entry.updated_at, entry.published_at)


def _address(path: str) -> str:
    """Of a file below the root, as a link."""
    return "/" + quote(path.removesuffix("index.html"))


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> None:
    speakable = {name: _UNSPEAKABLE.sub("", value) for name, value in attributes.items()}
    ET.SubElement(parent, tag, speakable).text = (
        None if text is None else _UNSPEAKABLE.sub("", text)
    )


def _document(root: ET.Element) -> bytes:
    document: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return document + b"\n"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B} {moment.year}"


def _iso(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
