"""What the pages are made of, read from SQL: of every article what deciding needs, the rest where a
page needs it.

An edition in which one article changed reads one body and a few dozen titles; of all others only
the columns that would tell. Rejected: asking for what was updated since the last build. A
transaction that began earlier may commit later, and its article would be missed for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, Engine, select

from tidings.news.articles import PUBLISHED
from tidings.news.tables import article, author, channel

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
    columns = (
        article.c.id,
        article.c.channel_id,
        article.c.author_id,
        article.c.published_at,
        article.c.updated_at,
    )
    query = (
        select(*columns)
        .where(article.c.status == PUBLISHED, article.c.published_at <= now)
        .order_by(article.c.published_at.desc(), article.c.id.desc())
    )
    rows = conn.execute(query).all()
    # Read after the articles, so that none of them has a channel which was not there yet.
    sections = {
        row.id: Section(*row)
        for row in conn.execute(select(channel.c.id, channel.c.slug, channel.c.name))
    }
    authors = {row.id: str(row.name) for row in conn.execute(select(author.c.id, author.c.name))}
    return [
        _make_entry(id_, sections[channel_id], authors.get(author_id), published_at, updated_at)
        for id_, channel_id, author_id, published_at, updated_at in rows
    ]


def read_teasers(engine: Engine, entries: Sequence[Entry]) -> list[Teaser]:
    """The titles and summaries of these articles, in this order, without those that went away
    meanwhile."""
    query = select(article.c.id, article.c.title, article.c.summary).where(
        article.c.id.in_([entry.id for entry in entries]), article.c.status == PUBLISHED
    )
    with engine.connect() as conn:
        found = {row.id: row for row in conn.execute(query)}
    return [
        _make_teaser(entry, found[entry.id].title, found[entry.id].summary)
        for entry in entries
        if entry.id in found
    ]


def read_stories(engine: Engine, entries: Sequence[Entry]) -> Iterator[list[Story]]:
    """The whole of these articles, in chunks, without those that went away meanwhile."""
    columns = (
        article.c.id,
        article.c.title,
        article.c.summary,
        article.c.cover,
        article.c.url,
        article.c.body,
    )
    for start in range(0, len(entries), CHUNK):
        chunk = {entry.id: entry for entry in entries[start : start + CHUNK]}
        query = select(*columns).where(article.c.id.in_(chunk), article.c.status == PUBLISHED)
        with engine.connect() as conn:
            rows = conn.execute(query).all()
        yield [
            Story(_make_teaser(chunk[row.id], row.title, row.summary), row.cover, row.url, row.body)
            for row in rows
        ]


def _make_entry(
    id_: int, section: Section, author: str | None, published_at: datetime, updated_at: datetime
) -> Entry:
    # A channel or an author may get another name without any article being touched.
    state = digest(id_, section.slug, section.name, author, published_at, updated_at)
    return Entry(id_, section, author, published_at, updated_at, state)


def _make_teaser(entry: Entry, title: str, summary: str) -> Teaser:
    # A link needs words, and so does an entry of a feed.
    has_words = any(char.isprintable() and not char.isspace() for char in title)
    return Teaser(entry, title if has_words else UNTITLED, summary)
