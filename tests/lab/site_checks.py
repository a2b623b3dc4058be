"""What a reader's browser, a feed reader and a search engine would find wrong with a folder of
static pages.

Every function returns the faults it finds, in words; an empty list is a good site. The tests look
at small sites with it and the benchmark at large ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

import feedparser
import html5lib
from html5lib.html5parser import ParseError

ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
# RFC 3339, which is also the longest of the forms that sitemaps allow; RFC 822 with the four digits
# of RSS 2.0.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
RFC_822 = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (GMT|[+-]\d{4})"
)
MOST_URLS = 50_000
MOST_BYTES = 50 * 1024 * 1024
LONGEST_URL = 2047


def check_site(root: Path, site: str) -> list[str]:
    """Everything below, of a site that is served at `site`."""
    faults = [fault for path in pages_of(root) for fault in check_page(root, path, site)]
    return [*faults, *check_feeds(root, site), *check_sitemaps(root, site)]


def pages_of(root: Path) -> list[str]:
    """The HTML files, by their paths below `root`."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.html"))


def file_of(url: str, site: str) -> str | None:
    """The file that a web server sends for `url`; None for another site's."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != site:
        return None
    path = unquote(parts.path).lstrip("/")
    if path.startswith("images/"):  # kept beside the pages, and sent by the gateway
        return None
    if not path or path.endswith("/"):
        return f"{path}index.html"
    return path if "." in path.rpartition("/")[2] else f"{path}.html"


def parse_page(page: bytes) -> ET.Element:
    """Raises:
    ParseError: it is not valid HTML.
    """
    tree: ET.Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return tree


def links_of(tree: ET.Element, path: str, site: str) -> set[str]:
    """The absolute addresses of what the page at `path` links to or shows."""
    found = (
        element.get("href") or element.get("src")
        for tag in ("a", "link", "img")
        for element in tree.iter(tag)
    )
    return {urljoin(f"{site}/{path}", link) for link in found if link is not None}


def check_page(root: Path, path: str, site: str) -> list[str]:
    """That one page is valid, can be read with eyes or ears, and links to what is there."""
    try:
        tree = parse_page((root / path).read_bytes())
    except ParseError as ex:
        return [f"{path}: not valid: {ex}"]
    return [f"{path}: {fault}" for fault in (*_links(root, tree, path, site), *_readable(tree))]


def _links(root: Path, tree: ET.Element, path: str, site: str) -> Iterator[str]:
    ids = {element.get("id") for element in tree.iter()}
    for link in links_of(tree, path, site):
        target = file_of(link, site)
        if target is not None and not (root / target).is_file():
            yield f"links to {link}, which is not there"
        if target == path and (fragment := urlsplit(link).fragment) and fragment not in ids:
            yield f"links to #{fragment}, which it does not have"


def _readable(tree: ET.Element) -> Iterator[str]:
    if not tree.get("lang"):
        yield "no lang"
    if not (tree.findtext("head/title") or "").strip():
        yield "no title"
    for tag in ("header", "main", "footer", "h1"):
        if (number := len(list(tree.iter(tag)))) != 1:
            yield f"{number} <{tag}>"
    levels = [
        int(tag[1]) for element in tree.iter() if re.fullmatch("h[1-6]", tag := str(element.tag))
    ]
    if any(below > above + 1 for above, below in zip([0, *levels], levels, strict=False)):
        yield f"headings leave out a level: {levels}"
    if any(element.get("alt") is None for element in tree.iter("img")):
        yield "a picture without alt"


def check_feeds(root: Path, site: str) -> list[str]:
    """That every feed is what RFC 4287 or RSS 2.0 demands, and that its links are there."""
    faults: list[str] = []
    kinds: dict[str, Callable[[ET.Element], Iterable[str]]] = {".atom": _atom, ".rss": _rss}
    for path in sorted(path for path in root.rglob("*") if path.suffix in kinds):
        name = path.relative_to(root)
        parsed = feedparser.parse(path.read_bytes())
        if parsed.bozo:
            faults.append(f"{name}: {parsed.get('bozo_exception')!r}")
            continue
        links = [parsed.feed.get("link"), *(entry.get("link") for entry in parsed.entries)]
        found = [
            f"dead or relative link {link}" for link in links if not _is_there(root, link, site)
        ]
        found += kinds[path.suffix](ET.parse(path).getroot())
        ids = [entry.get("id") for entry in parsed.entries]
        found += [] if all(ids) and len(set(ids)) == len(ids) else ["ids are missing or not unique"]
        faults += [f"{name}: {fault}" for fault in found]
    return faults


def _is_there(root: Path, link: str | None, site: str) -> bool:
    target = file_of(link or "", site)
    return target is not None and (root / target).is_file()


def _atom(feed: ET.Element) -> Iterator[str]:
    for element in (feed, *feed.iter(f"{ATOM}entry")):
        what = "entry" if element is not feed else "feed"
        for tag in ("id", "title", "updated"):
            if len(found := element.findall(ATOM + tag)) != 1 or not (found[0].text or "").strip():
                yield f"{what} with no {tag}, or several"
        for tag in ("updated", "published"):
            if (text := element.findtext(ATOM + tag)) is not None and not RFC_3339.fullmatch(text):
                yield f"{what}: {tag} is {text}"
        if not urlsplit(element.findtext(f"{ATOM}id") or "").scheme:
            yield f"{what}: its id is no IRI"
        if element is not feed and element.find(f"{ATOM}author/{ATOM}name") is None:
            yield "entry without author"
    if [link.get("rel") for link in feed.findall(f"{ATOM}link")].count("self") != 1:
        yield "no link to itself"


def _rss(rss: ET.Element) -> Iterator[str]:
    channel = rss.find("channel")
    if rss.get("version") != "2.0" or channel is None:
        yield "not RSS 2.0"
        return
    for tag in ("title", "link", "description"):
        if not (channel.findtext(tag) or "").strip():
            yield f"no {tag}"
    for item in channel.iter("item"):
        if not item.findtext("title") and not item.findtext("description"):
            yield "item with neither title nor description"
        moment = item.findtext("pubDate") or ""
        if (
            not RFC_822.fullmatch(moment)
            or parsedate_to_datetime(moment).strftime("%a") != moment[:3]
        ):
            yield f"pubDate is {moment}"


def check_sitemaps(root: Path, site: str) -> list[str]:
    """That the index and its sitemaps keep to the rules of sitemaps.org, and list every article
    once."""
    faults: list[str] = []
    listed: list[str] = []
    index = _entries(root / "sitemap.xml", "sitemapindex", "sitemap", faults)
    for name in (file_of(url, site) or "" for url in index):
        if not (root / name).is_file():
            faults.append(f"sitemap.xml: {name} is not there")
            continue
        listed += _entries(root / name, "urlset", "url", faults)
    faults += [
        f"listed in a sitemap, but not there: {url}"
        for url in listed
        if not _is_there(root, url, site)
    ]
    faults += [] if len(set(listed)) == len(listed) else ["listed twice in the sitemaps"]
    articles = {path for path in pages_of(root) if path.startswith("articles/")}
    faults += [
        f"in no sitemap: {path}"
        for path in sorted(articles - {file_of(url, site) for url in listed})
    ]
    return faults


def _entries(path: Path, outer: str, inner: str, faults: list[str]) -> list[str]:
    raw = path.read_bytes()
    tree = ET.fromstring(raw)
    urls = [entry.findtext(f"{SITEMAP}loc") or "" for entry in tree]
    if tree.tag != SITEMAP + outer or any(entry.tag != SITEMAP + inner for entry in tree):
        faults.append(f"{path.name}: not made of {outer} and {inner}")
    if len(urls) > MOST_URLS or len(raw) > MOST_BYTES:
        faults.append(f"{path.name}: {len(urls)} addresses, {len(raw)} bytes")
    faults += [
        f"{path.name}: {url} is too long or not absolute" for url in urls if not _is_address(url)
    ]
    moments = [entry.findtext(f"{SITEMAP}lastmod") or "" for entry in tree]
    faults += [
        f"{path.name}: lastmod is {moment!r}"
        for moment in moments
        if not RFC_3339.fullmatch(moment)
    ]
    return urls


def _is_address(url: str) -> bool:
    return url.isascii() and url.startswith(("http://", "https://")) and len(url) <= LONGEST_URL
