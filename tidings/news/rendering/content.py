"""What the pages are made of, read from SQL: of every article what deciding needs, the rest where a
page needs it.

An edition in which one article changed reads one body and a few dozen titles; of all others only
the columns that would tell. Rejected: asking for what was updated since the last build. A
transaction that began earlier may commit later, and its article would be missed for ever.

    with engine.connect() as conn:
        entries = read_entries(conn, now)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, Engine

from tidings.news.articles import WholeArticle
from tidings.news.authors import read_author_names
from tidings.news.channels import Channel, read_channels
from tidings.news.listing import Headline, Text, Visible, read_headlines, read_texts, read_visible
from tidings.process.clock import moment

# Whole articles in memory at once; the importer takes bodies of half a million characters.
CHUNK = 50
UNTITLED = "Untitled"
# Of VAR_DIR: where the pages stand as files.
FOLDER = "site"


@dataclass(frozen=True, slots=True)
class Section:
    """A channel. Its pages are named by its number, which outlives a change of its name."""

    id: int
    slug: str
    name: str

    @property
    def path(self) -> str:
        return f"channels/{self.id}.html"

    @property
    def atom_path(self) -> str:
        return f"channels/{self.id}.atom"

    @property
    def rss_path(self) -> str:
        return f"channels/{self.id}.rss"

    def page_path(self, number: int) -> str:
        """Of one of the pages that hold all of its articles."""
        return f"channels/{self.id}/page-{number}.html"


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
    """An article in a list; `cover` is an address, and `language` what its source says."""

    entry: Entry
    title: str
    summary: str
    cover: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """A whole article; `body` is sanitised HTML."""

    teaser: Teaser
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
    sections = {known.channel_id: section_of(known) for known in read_channels(conn)}
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
    return [_make_teaser(entry, found[entry.id]) for entry in entries if entry.id in found]


def read_stories(engine: Engine, entries: Sequence[Entry]) -> Iterator[list[Story]]:
    """The whole of these articles, in chunks, without those that went away meanwhile."""
    for start in range(0, len(entries), CHUNK):
        chunk = {entry.id: entry for entry in entries[start : start + CHUNK]}
        with engine.connect() as conn:
            texts = read_texts(conn, chunk)
        yield [
            Story(_make_teaser(chunk[text.article_id], text), url=text.url, body=text.body)
            for text in texts
        ]


def section_of(channel: Channel) -> Section:
    return Section(id=channel.channel_id, slug=channel.slug, name=channel.name)


def story_of(whole: WholeArticle, channel: Channel) -> Story:
    """An article that is in memory already, such as one that a reader asks for by its address."""
    entry = Entry(
        id=whole.article_id,
        section=section_of(channel),
        author=whole.author,
        published_at=moment(whole.published_at),
        updated_at=moment(whole.updated_at),
        state="",
    )
    return Story(_make_teaser(entry, whole), url=whole.url, body=whole.body)


def _make_entry(row: Visible, section: Section, author: str | None) -> Entry:
    # A channel or an author may get another name without any article being touched, and a cover
    # comes after its article.
    state = digest(
        *(row.article_id, section.id, section.slug, section.name, author),
        *(row.published_at, row.updated_at, row.image),
    )
    return Entry(
        id=row.article_id,
        section=section,
        author=author,
        published_at=row.published_at,
        updated_at=row.updated_at,
        state=state,
    )


def _make_teaser(entry: Entry, of: Headline | Text | WholeArticle) -> Teaser:
    # A link needs words, and so does an entry of a feed.
    has_words = any(char.isprintable() and not char.isspace() for char in of.title)
    title = of.title if has_words else UNTITLED
    return Teaser(entry, title, of.summary, cover=of.cover, language=of.language)
