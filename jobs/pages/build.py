"""Builds the static site, of which nearly everything is still right from the last time.

A manifest beside the pages says which article was rendered as of when, so a minute in which one article was edited
renders that article, its channel, the home page and the feeds. Articles come first and what links to them after, and
pages of articles that are gone go last: at no moment does a link lead nowhere. Channels are cut into pages from their
oldest article on, so a new one changes the last page and not all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2
import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy import Engine

from jobs.context import JobFailed, Run
from jobs.pages.content import Section, Teaser, read_sections, read_stories
from jobs.pages.files import SiteFolder
from jobs.pages.render import FEED_LENGTH, TITLE, Renderer

PER_PAGE = 40
HOME_LENGTH = 30
MANIFEST = ".manifest.json"
FOLDER = "site"
# A build that would throw away so much of the last one is taken for a fault of the database's, not for the news.
LARGEST_LOSS = 0.5
SMALL = 20

log = structlog.get_logger(__name__)
_FAILED = Counter("tidings_pages_failed", "articles whose page could not be rendered; the last good one stays")


class Manifest(msgspec.Struct):
    """What stands in the folder: each article's state when it was rendered, and every other page."""

    edition: str = ""
    articles: dict[str, str] = {}
    pages: list[str] = []


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did."""

    articles: int
    rendered: int
    written: int
    deleted: int
    failed: int


def build_pages(run: Run) -> str:
    """Write the home page, channels, articles, feeds and sitemap that changed, as files under VAR_DIR/site."""
    context = run.context
    built = build_site(
        context.engine,
        context.settings.var_dir / FOLDER,
        Renderer(context.settings.site_url),
        now=run.now,
        stopping=context.stopping,
    )
    summary = (
        f"{built.articles} articles, {built.rendered} rendered, {built.written} files written, {built.deleted} deleted"
    )
    if built.failed:
        raise JobFailed(f"{built.failed} articles could not be rendered; {summary}")
    return summary


def build_site(
    engine: Engine, root: Path, renderer: Renderer, *, now: datetime, stopping: threading.Event | None = None
) -> Built:
    """Bring the pages under `root` up to date.

    Raises:
        JobFailed: so many articles are gone that the last good site stays, or it was asked to stop.
    """
    folder = SiteFolder(root)
    folder.sweep()
    before = _read_manifest(folder)
    with engine.connect() as conn:
        sections = read_sections(conn, now)
    wanted = {str(teaser.id): f"{teaser.updated_at.isoformat()} {section.slug}" for section, teaser in _all(sections)}
    _refuse_loss(before, wanted)
    known = before.articles if before.edition == renderer.edition else {}
    stale = [
        (section, teaser) for section, teaser in _all(sections) if known.get(str(teaser.id)) != wanted[str(teaser.id)]
    ]
    failed = _write_articles(engine, folder, renderer, stale, stopping or threading.Event())
    pages = []
    for path, content in _render_pages(renderer, sections):
        folder.write(path, content)
        pages.append(path)
    gone = before.articles.keys() - wanted.keys()
    obsolete = [*(f"articles/{id_}.html" for id_ in gone), *(set(before.pages) - set(pages))]
    for path in obsolete:
        folder.delete(path)
    for id_ in failed:
        wanted[id_] = known.get(id_, "")
    manifest = Manifest(renderer.edition, wanted, pages)
    folder.settle()
    written = folder.written
    folder.write(MANIFEST, msgspec.json.encode(manifest))
    return Built(len(wanted), len(stale) - len(failed), written, len(obsolete), len(failed))


def _write_articles(
    engine: Engine,
    folder: SiteFolder,
    renderer: Renderer,
    stale: Sequence[tuple[Section, Teaser]],
    stopping: threading.Event,
) -> list[str]:
    sections = {teaser.id: section for section, teaser in stale}
    failed = []
    for story in read_stories(engine, [teaser for _, teaser in stale]):
        if stopping.is_set():
            raise JobFailed("asked to stop; the next build goes on")
        try:
            content = renderer.article(story, sections[story.teaser.id])
        except (jinja2.TemplateError, ValueError) as ex:
            _FAILED.inc()
            log.error("page_failed", article=story.teaser.id, error=repr(ex))
            failed.append(str(story.teaser.id))
            continue
        folder.write(story.teaser.path, content)
    return failed


def _render_pages(renderer: Renderer, sections: Sequence[Section]) -> Iterator[tuple[str, bytes]]:
    newest = sorted((teaser for _, teaser in _all(sections)), key=lambda teaser: (teaser.published_at, teaser.id))
    newest.reverse()
    listed: list[tuple[str, datetime]] = [(teaser.path, teaser.updated_at) for teaser in newest]
    for section in sections:
        oldest_first = section.teasers[::-1]
        last = max(-(-len(oldest_first) // PER_PAGE), 1)
        for number in range(1, last + 1):
            teasers = oldest_first[(number - 1) * PER_PAGE : number * PER_PAGE][::-1]
            path = f"channels/{section.slug}/page-{number}.html"
            yield path, renderer.listing(section, teasers, number, last)
        # The front of a channel is always full, whatever the last page holds.
        yield section.path, renderer.listing(section, section.teasers[:PER_PAGE], 0, last)
        feed = renderer.atom(f"{TITLE}: {section.name}", section.feed_path, section.path, section.teasers[:FEED_LENGTH])
        yield section.feed_path, feed
        listed.append((section.path, section.teasers[0].updated_at))
    yield "feed.atom", renderer.atom(TITLE, "feed.atom", "", newest[:FEED_LENGTH])
    yield "feed.rss", renderer.rss("feed.rss", newest[:FEED_LENGTH])
    yield "index.html", renderer.home(sections, newest[:HOME_LENGTH])
    yield from renderer.sitemaps(listed).items()


def _all(sections: Sequence[Section]) -> Iterator[tuple[Section, Teaser]]:
    return ((section, teaser) for section in sections for teaser in section.teasers)


def _refuse_loss(before: Manifest, wanted: Mapping[str, str]) -> None:
    lost = len(before.articles.keys() - wanted.keys())
    if lost > SMALL and lost > LARGEST_LOSS * len(before.articles):
        share = f"{lost} of {len(before.articles)} articles are gone"
        raise JobFailed(f"{share}; the last good site stays. If that is right, delete {MANIFEST}")


def _read_manifest(folder: SiteFolder) -> Manifest:
    raw = folder.read(MANIFEST)
    if raw is None:
        return Manifest()
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as ex:
        log.warning("manifest_unreadable", error=str(ex), effect="everything is rendered anew")
        return Manifest()
