"""What the pages are made of, read from SQL: of every article what deciding needs, the rest where a
page needs it.

An edition in which one article changed reads one body and a few dozen titles; of all others only
the columns that would tell. Rejected: asking for what was updated since the last build. A
transaction that began earlier may commit later, and its article would be missed for ever.

    with engine.connect() as conn:
        entries = read_entries(conn, now)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, Engine

from tidings.news.authors import read_author_names
from tidings.news.channels import read_channels
from tidings.news.listing import Visible, read_headlines, read_texts, read_visible

# Whole articles in memory at once; the importer takes bodies of half a million characters.
CHUNK = 50
UNTITLED = "Untitled"
_FOLDER_NAME = re.compile(r"[\w-]{1,60}")


@dataclass(frozen=True, slots=True)
class Section:
    """A channel."""

    id: int
    slug: str
    name: str

    @property
    def folder(self) -> str:
        # Not every slug is the name of a file: 64 letters can be 256 bytes, and other programs
        # write this table too.
        return f"channels/{self.slug if _FOLDER_NAME.fullmatch(self.slug) else f'~{self.id}'}"

    @property
    def path(self) -> str:
        return f"{self.folder}/index.html"

    @property
    def feed_path(self) -> str:
        return f"{self.folder}/feed.atom"


@dataclass(frozen=True, slots=True)
class Entry:
    """An article as far as deciding needs it. `state` differs whenever its page, or its place in a
    list, would."""

    id: int
    section: Section
    author: str | None
    published_at: datetime
    updated_at: datetime
    state: str

    @property
    def path(self) -> str:
        return article_path(self.id)


@dataclass(frozen=True, slots=True)
class Teaser:
    """An article in a list."""

    entry: Entry
    title: str
    summary: str


@dataclass(frozen=True, slots=True)
class Story:
    """A whole article; `body` is sanitised HTML."""

    teaser: Teaser
    cover: str | None
    url: str | None
    body: str


def article_path(article_id: int) -> str:
    return f"articles/{article_id}.html"


def digest(*parts: object) -> str:
    """A short name for these values together."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=8).hexdigest()


def read_entries(conn: Connection, now: datetime) -> list[Entry]:
    """Every article that may be shown, newest first."""
    visible = read_visible(conn, now=now)
    # Read after the articles, so that none of them has a channel which was not there yet.
    sections = {
        known.channel_id: Section(id=known.channel_id, slug=known.slug, name=known.name)
        for known in read_channels(conn)
    }
    authors = read_author_names(conn)
    return [
        _make_entry(row, sections[row.channel_id], authors.get(row.author_id or 0))
        for row in visible
    ]


def read_teasers(engine: Engine, entries: Sequence[Entry]) -> list[Teaser]:
    """The titles and summaries of these articles, in this order, without those that went away
    meanwhile."""
    with engine.connect() as conn:
        found = read_headlines(conn, [entry.id for entry in entries])
    return [
        _make_teaser(entry, found[entry.id].title, found[entry.id].summary)
        for entry in entries
        if entry.id in found
    ]


def read_stories(engine: Engine, entries: Sequence[Entry]) -> Iterator[list[Story]]:
    """The whole of these articles, in chunks, without those that went away meanwhile."""
    for start in range(0, len(entries), CHUNK):
        chunk = {entry.id: entry for entry in entries[start : start + CHUNK]}
        with engine.connect() as conn:
            texts = read_texts(conn, chunk)
        yield [
            Story(
                teaser=_make_teaser(chunk[text.article_id], text.title, text.summary),
                cover=text.cover,
                url=text.url,
                body=text.body,
            )
            for text in texts
        ]


def _make_entry(row: Visible, section: Section, author: str | None) -> Entry:
    # A channel or an author may get another name without any article being touched.
    state = digest(
        row.article_id, section.slug, section.name, author, row.published_at, row.updated_at
    )
    return Entry(
        id=row.article_id,
        section=section,
        author=author,
        published_at=row.published_at,
        updated_at=row.updated_at,
        state=state,
    )


def _make_teaser(entry: Entry, title: str, summary: str) -> Teaser:
    # A link needs words, and so does an entry of a feed.
    has_words = any(char.isprintable() and not char.isspace() for char in title)
    return Teaser(entry, title if has_words else UNTITLED, summary)
