"""Builds the static site; nearly all of it is still right from the last time.

A manifest beside the pages says what each was made of, so a minute in which one article was edited
renders that article and the lists and feeds that show it. New articles come first, then what links
to them, then articles that changed, and what is gone goes last: at no moment does a link lead
nowhere. The manifest is written at the very end, and what stands in the folder is looked up there:
a build that was killed is simply done again.

    build_site(engine, Path("var/site"), Renderer(Masthead("https://news.example")), now=now)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy import Engine

from jobs.pages.emblem import draw_emblem
from jobs.pages.files import FolderInUseError, SiteFolder, open_folder
from jobs.pages.plan import Document, plan
from jobs.static.context import Context, JobFailedError, Routine, Run
from tidings.news.articles import existing_ids
from tidings.news.rendering.content import (
    FOLDER,
    Entry,
    Story,
    article_path,
    read_entries,
    read_stories,
    read_teasers,
)
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer

MANIFEST = ".manifest.json"
# A build of a whole site of 2,000 articles takes seven seconds.
PATIENCE_S = 30.0
# A build that would throw away so much of the last one is taken for a fault of the database's, not
# for the news.
LARGEST_LOSS = 0.5
SMALL = 20
# What builds make, now or in an earlier edition; anything else in the folder is its operator's.
_ARTICLE = re.compile(r"articles/(\d+)\.html")
_OURS = re.compile(
    r"articles/\d+\.html|channels/\d+\.(html|atom|rss)|channels/\d+/page-\d+\.html|logo\.png"
    r"|channels/[^/]+/(index\.html|page-\d+\.html|feed\.atom)|sitemap-[^/]+\.xml"
)

log = structlog.get_logger(__name__)
_FAILED = Counter(
    "tidings_pages_failed", "Articles whose page could not be rendered; the last good one stays"
)


class Manifest(msgspec.Struct):
    """What the files were made of: each article's state when it was rendered, and every other
    document's seal."""

    edition: str = ""
    articles: dict[int, str] = {}
    documents: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did: numbers of articles, or of files where it says so."""

    articles: int
    rendered: int
    files_written: int
    files_deleted: int
    failed: int

    def __str__(self) -> str:
        return (
            f"{self.articles} articles, {self.rendered} rendered, "
            f"{self.files_written} files written, {self.files_deleted} deleted"
        )


def build_pages(run: Run) -> str:
    """Write what changed of the static site: home, channels, articles, feeds and sitemap."""
    built = build_folder(run.context, run.now)
    if built.failed:
        raise JobFailedError(f"{built.failed} articles could not be rendered; {built}")
    is_same = not built.files_written and not built.files_deleted
    return Routine(built) if is_same else str(built)


def build_folder(context: Context, now: datetime) -> Built:
    """Bring this machine's folder of pages up to date; a builder that is at it is waited for.

    Raises:
        JobFailedError: as `build_site`.
        OSError: something could not be written.
    """
    site = context.settings.site
    return build_site(
        context.engine,
        site.var_dir / FOLDER,
        _make_renderer(Masthead.of(site)),
        now=now,
        logo=site.logo,
        stopping=context.stopping,
        patience_s=PATIENCE_S,
    )


def build_site(
    engine: Engine,
    root: Path,
    renderer: Renderer,
    *,
    now: datetime,
    logo: Path | None = None,
    stopping: threading.Event | None = None,
    patience_s: float = 0.0,
) -> Built:
    """Bring the pages under `root` up to date.

    Args:
        logo: the site's picture.
        stopping: is set when the build is to end half-way.
        patience_s: how long another builder in this folder is waited for.

    Raises:
        JobFailedError: so many articles are gone that the last good site stays, another build is at
            it, or this one was asked to stop.
        OSError: something could not be written, such as on a full disk. What stands there is whole.
    """
    try:
        with open_folder(root, patience_s=patience_s) as folder:
            with engine.connect() as conn:
                entries = read_entries(conn, now)
            build = _Build(engine, folder, renderer, stopping=stopping or threading.Event())
            return build.run(entries, draw_emblem(logo))
    except FolderInUseError as ex:
        raise JobFailedError(str(ex)) from ex


class _Build:
    """The state of one build between its steps."""

    def __init__(
        self, engine: Engine, folder: SiteFolder, renderer: Renderer, *, stopping: threading.Event
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._renderer = renderer
        self._stopping = stopping
        self._rendered: set[int] = set()
        self._failed = 0
        self._written = 0
        self._deleted = 0

    def run(self, entries: Sequence[Entry], emblem: Mapping[str, bytes]) -> Built:
        """Build.

        Args:
            entries: all articles, newest first.
            emblem: the pictures of the site itself, by their paths.
        """
        before = _read_manifest(self._folder)
        standing = {
            int(found[1]) for path in self._folder.paths if (found := _ARTICLE.fullmatch(path))
        }
        gone = standing - {entry.id for entry in entries}
        if before is not None:
            self._refuse_loss(gone, len(standing))
        known = before if before and before.edition == self._renderer.edition else Manifest()
        try:
            self._written += self._folder.write_in_order(emblem.items())
            shown, documents = self._write(entries, standing, known)
        except OSError:
            # What was taken down goes, even where nothing can be written. A link to it is the
            # lesser evil.
            self._delete(map(article_path, gone))
            raise
        wanted = {*emblem, *documents, *(entry.path for entry in shown)}
        self._delete(path for path in self._folder.paths - wanted if _OURS.fullmatch(path))
        self._folder.settle()
        right = {entry.id: entry.state for entry in shown if self._is_right(entry, known)}
        self._folder.write(
            MANIFEST, msgspec.json.encode(Manifest(self._renderer.edition, right, documents))
        )
        return Built(
            articles=len(shown),
            rendered=len(self._rendered),
            files_written=self._written,
            files_deleted=self._deleted,
            failed=self._failed,
        )

    def _refuse_loss(self, gone: set[int], standing: int) -> None:
        """Raises:
        JobFailedError: what is gone has to be the database's fault. What was taken down has a row
            that says so.
        """
        if len(gone) <= SMALL:
            return
        with self._engine.connect() as conn:
            lost = len(gone - existing_ids(conn, gone))
        if lost > SMALL and lost > LARGEST_LOSS * standing:
            raise JobFailedError(
                f"{lost} of {standing} articles are gone; the last good site stays. If that is "
                f"right, delete VAR_DIR/{FOLDER}/{MANIFEST}"
            )

    def _write(
        self, entries: Sequence[Entry], standing: set[int], known: Manifest
    ) -> tuple[list[Entry], dict[str, str]]:
        """Everything that is to be; returns the articles that have a page now, and the other
        documents' seals."""
        self._write_articles([entry for entry in entries if entry.id not in standing])
        # What has no page, because it failed or was taken down just now, is not linked to either.
        shown = [entry for entry in entries if entry.id in standing or entry.id in self._rendered]
        documents = self._write_documents(shown, known.documents)
        self._write_articles([entry for entry in shown if not self._is_right(entry, known)])
        return shown, documents

    def _is_right(self, entry: Entry, known: Manifest) -> bool:
        return entry.id in self._rendered or known.articles.get(entry.id) == entry.state

    def _write_articles(self, entries: Sequence[Entry]) -> None:
        for stories in read_stories(self._engine, entries):
            if self._stopping.is_set():
                raise JobFailedError("asked to stop; the next build goes on")
            self._written += self._folder.write_in_order(self._render_all(stories))

    def _render_all(self, stories: Sequence[Story]) -> Iterator[tuple[str, bytes]]:
        for story in stories:
            content = self._render(story)
            if content is not None:
                self._rendered.add(story.teaser.entry.id)
                yield story.teaser.entry.path, content

    def _render(self, story: Story) -> bytes | None:
        try:
            return self._renderer.article(story)
        except Exception:  # one article cannot keep the others from being published
            _FAILED.inc()
            self._failed += 1
            log.exception("page_failed", article=story.teaser.entry.id)
            return None

    def _write_documents(self, shown: Sequence[Entry], known: Mapping[str, str]) -> dict[str, str]:
        documents = list(plan(self._renderer, shown))
        self._written += self._folder.write_in_order(
            (document.path, self._make(document))
            for document in documents
            if known.get(document.path) != document.seal or document.path not in self._folder.paths
        )
        return {document.path: document.seal for document in documents}

    def _make(self, document: Document) -> bytes:
        teasers = read_teasers(self._engine, document.shown) if document.shown else []
        return document.render(teasers)

    def _delete(self, paths: Iterable[str]) -> None:
        for path in sorted(paths):
            self._folder.delete(path)
            self._deleted += 1


@lru_cache(maxsize=1)
def _make_renderer(masthead: Masthead) -> Renderer:
    """One for all builds of a daemon: compiling the templates takes longer than an edition without
    news."""
    return Renderer(masthead)


def _read_manifest(folder: SiteFolder) -> Manifest | None:
    """None where there is none."""
    raw = folder.read(MANIFEST)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as ex:
        log.warning("manifest_unreadable", error=str(ex), effect="everything is rendered anew")
        return Manifest()
