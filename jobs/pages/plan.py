"""Which pages, feeds and sitemaps there are to be beside the articles, and what each is made of.

A document's seal is a digest of what it would show, so an edition in which one article changed
renders the few documents that show it. Channels are cut into pages, and the sitemap into files,
from the oldest article on: a new one changes the last of them and not all. They come in the order
in which they can be written one by one without a link that leads nowhere: what is linked to before
what links, the home page after every other page, and the sitemaps at the end.

    [document.path for document in plan(renderer, entries)]  # "sitemap.xml" is the last
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tidings.news.rendering.content import Entry, Section, Teaser, digest
from tidings.news.rendering.render import Renderer

PER_PAGE = 40
HOME_LENGTH = 31  # the lead, and a table of two or three columns
FEED_LENGTH = 50
SITEMAP_IDS = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """A file to be: `render` makes it of the teasers of `shown`."""

    path: str
    seal: str
    shown: Sequence[Entry]
    render: Callable[[Sequence[Teaser]], bytes]


def plan(renderer: Renderer, entries: Sequence[Entry]) -> Iterator[Document]:
    """Every document of the site but the articles' pages.

    Args:
        renderer: makes them.
        entries: all articles, newest first.
    """
    by_section: dict[Section, list[Entry]] = {}
    for entry in entries:
        by_section.setdefault(entry.section, []).append(entry)
    sections = sorted(by_section, key=lambda section: (section.name.casefold(), section.id))
    for section in sections:
        yield from _plan_section(renderer, section, by_section[section])
    newest = entries[:FEED_LENGTH]
    yield _document("feed.atom", newest, partial(renderer.feeds.atom, None))
    yield _document("feed.rss", newest, partial(renderer.feeds.rss, None))
    yield _document("404.html", (), renderer.not_found)
    yield _document("robots.txt", (), renderer.feeds.robots)
    names = [f"{section.id} {section.name}" for section in sections]
    yield _document("index.html", entries[:HOME_LENGTH], partial(renderer.home, sections), *names)
    yield from _plan_sitemaps(renderer, entries, by_section)


def _plan_section(
    renderer: Renderer, section: Section, entries: Sequence[Entry]
) -> Iterator[Document]:
    oldest_first = entries[::-1]
    last = -(-len(oldest_first) // PER_PAGE)
    for number in range(last, 0, -1):
        shown = oldest_first[(number - 1) * PER_PAGE : number * PER_PAGE][::-1]
        render = partial(renderer.listing, section, number, number < last)
        yield _document(section.page_path(number), shown, render, number < last)
    newest = entries[:FEED_LENGTH]
    yield _document(section.atom_path, newest, partial(renderer.feeds.atom, section))
    yield _document(section.rss_path, newest, partial(renderer.feeds.rss, section))
    # The front of a channel is always full, no matter what the last page holds.
    yield _document(section.path, entries[:PER_PAGE], partial(renderer.front, section, last), last)


def _plan_sitemaps(
    renderer: Renderer, entries: Sequence[Entry], by_section: dict[Section, list[Entry]]
) -> Iterator[Document]:
    parts: dict[str, list[tuple[str, Entry]]] = {}
    if entries:
        newest = max(entries, key=lambda entry: entry.updated_at)
        heads = [
            (section.path, max(shown, key=lambda e: e.updated_at))
            for section, shown in by_section.items()
        ]
        parts["sitemap-channels.xml"] = [
            ("index.html", newest),
            *sorted(heads, key=lambda head: head[0]),
        ]
    for entry in sorted(entries, key=lambda entry: entry.id):
        parts.setdefault(f"sitemap-{entry.id // SITEMAP_IDS + 1}.xml", []).append(
            (entry.path, entry)
        )
    for path, listed in parts.items():
        yield _sealed(path, [entry for _, entry in listed], partial(renderer.feeds.sitemap, listed))
    newest_of = {
        path: max(entry.updated_at for _, entry in listed) for path, listed in parts.items()
    }
    yield Document(
        path="sitemap.xml",
        seal=digest(*newest_of.items()),
        shown=(),
        render=lambda _: renderer.feeds.sitemap_index(newest_of),
    )


def _document(
    path: str, shown: Sequence[Entry], render: Callable[[Sequence[Teaser]], bytes], *also: object
) -> Document:
    return Document(path, digest(*also, *(entry.state for entry in shown)), shown, render)


def _sealed(path: str, entries: Sequence[Entry], render: Callable[[], bytes]) -> Document:
    """A document that shows nothing of these articles but their moments."""
    return Document(path, digest(*(entry.state for entry in entries)), (), lambda _: render())
