"""Builds the static site; nearly all of it is still right from the last time.

A manifest beside the pages says what each was made of, so a minute in which one article was edited
renders that article and the lists and feeds that show it. New articles come first, then what links
to them, then articles that changed, and what is gone goes last: at no moment does a link lead
nowhere. The manifest is written at the very end, and what stands in the folder is looked up there:
a build that was killed is simply done again.

    build_site(engine, Path("var/site"), Renderer("https://news.example"), now=now)
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

from jobs.pages.content import Entry, Story, article_path, read_entries, read_stories, read_teasers
from jobs.pages.files import FolderInUseError, SiteFolder, open_folder
from jobs.pages.plan import Document, plan
from jobs.pages.render import Renderer
from jobs.static.context import JobFailedError, Routine, Run

MANIFEST = ".manifest.json"
FOLDER = "site"
# A build that would throw away so much of the last one is taken for a fault of the database's, not
# for the news.
LARGEST_LOSS = 0.5
SMALL = 20
# What builds make, now or in an earlier edition; anything else in the folder is its operator's.
_ARTICLE = re.compile(r"articles/(\d+)\.html")
_OURS = re.compile(
    r"articles/\d+\.html|channels/[^/]+/(index\.html|page-\d+\.html|feed\.atom)|sitemap-[^/]+\.xml"
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
    context = run.context
    renderer = _make_renderer(context.settings.site.url)
    folder = context.settings.site.var_dir / FOLDER
    built = build_site(context.engine, folder, renderer, now=run.now, stopping=context.stopping)
    if built.failed:
        raise JobFailedError(f"{built.failed} articles could not be rendered; {built}")
    is_same = not built.files_written and not built.files_deleted
    return Routine(built) if is_same else str(built)


def build_site(
    engine: Engine,
    root: Path,
    renderer: Renderer,
    *,
    now: datetime,
    stopping: threading.Event | None = None,
) -> Built:
    """Bring the pages under `root` up to date.

    Raises:
        JobFailedError: so many articles are gone that the last good site stays, another build is at
            it, or this one was asked to stop.
        OSError: something could not be written, such as on a full disk. What stands there is whole.
    """
    try:
        with open_folder(root) as folder:
            with engine.connect() as conn:
                entries = read_entries(conn, now)
            return _Build(engine, folder, renderer, stopping or threading.Event()).run(entries)
    except FolderInUseError as ex:
        raise JobFailedError(str(ex)) from ex


class _Build:
    """The state of one build between its steps."""

    def __init__(
        self, engine: Engine, folder: SiteFolder, renderer: Renderer, stopping: threading.Event
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._renderer = renderer
        self._stopping = stopping
        self._rendered: set[int] = set()
        self._failed = 0
        self._written = 0
        self._deleted = 0

    def run(self, entries: Sequence[Entry]) -> Built:
        before = _read_manifest(self._folder)
        standing = {
            int(found[1]) for path in self._folder.paths if (found := _ARTICLE.fullmatch(path))
        }
        gone = standing - {entry.id for entry in entries}
        if before is not None:
            _refuse_loss(len(gone), len(standing))
        known = before if before and before.edition == self._renderer.edition else Manifest()
        try:
            shown, documents = self._write(entries, standing, known)
        except OSError:
            # What was taken down goes, even where nothing can be written. A link to it is the
            # lesser evil.
            self._delete(map(article_path, gone))
            raise
        wanted = {*documents, *(entry.path for entry in shown)}
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
def _make_renderer(site_url: str) -> Renderer:
    """One for all builds of a daemon: compiling the templates takes longer than an edition without
    news."""
    return Renderer(site_url)


def _refuse_loss(gone: int, standing: int) -> None:
    if gone > SMALL and gone > LARGEST_LOSS * standing:
        share = f"{gone} of {standing} articles are gone"
        raise JobFailedError(
            f"{share}; the last good site stays. If that is right, delete "
            f"VAR_DIR/{FOLDER}/{MANIFEST}"
        )


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
