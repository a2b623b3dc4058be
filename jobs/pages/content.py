"""What the pages are made of, read from SQL: the list of all articles at once, whole articles a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from tidings.articles import PUBLISHED
from tidings.store.tables import article, author, channel

CHUNK = 200


@dataclass(frozen=True, slots=True)
class Teaser:
    """An article in a list."""

    id: int
    channel_id: int
    title: str
    summary: str
    author: str | None
    published_at: datetime
    updated_at: datetime

    @property
    def path(self) -> str:
        return f"articles/{self.id}.html"


@dataclass(frozen=True, slots=True)
class Story:
    """A whole article; `body` is sanitised HTML."""

    teaser: Teaser
    cover: str | None
    url: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Section:
    """A channel and its articles, newest first."""

    id: int
    slug: str
    name: str
    teasers: Sequence[Teaser]

    @property
    def path(self) -> str:
        return f"channels/{self.slug}/index.html"

    @property
    def feed_path(self) -> str:
        return f"channels/{self.slug}/feed.atom"


def read_sections(conn: Connection, now: datetime) -> list[Section]:
    """Every channel that has an article, by name. Both statements see one moment only by luck, which is enough."""
    by_channel: dict[int, list[Teaser]] = {}
    for teaser in read_teasers(conn, now):
        by_channel.setdefault(teaser.channel_id, []).append(teaser)
    rows = conn.execute(select(channel.c.id, channel.c.slug, channel.c.name).order_by(channel.c.name, channel.c.id))
    return [Section(row.id, row.slug, row.name, by_channel[row.id]) for row in rows if row.id in by_channel]


def read_teasers(conn: Connection, now: datetime) -> Iterator[Teaser]:
    """Every article that may be shown, newest first."""
    columns = (
        article.c.id,
        article.c.channel_id,
        article.c.title,
        article.c.summary,
        author.c.name,
        article.c.published_at,
        article.c.updated_at,
    )
    query = (
        select(*columns)
        .outerjoin(author, author.c.id == article.c.author_id)
        .where(article.c.status == PUBLISHED, article.c.published_at <= now)
        .order_by(article.c.published_at.desc(), article.c.id.desc())
    )
    return (Teaser(*row) for row in conn.execute(query))


def read_stories(engine: Engine, teasers: Sequence[Teaser]) -> Iterator[Story]:
    """The whole of these articles, in chunks, so that memory holds few of them."""
    for start in range(0, len(teasers), CHUNK):
        chunk = {teaser.id: teaser for teaser in teasers[start : start + CHUNK]}
        query = select(article.c.id, article.c.cover, article.c.url, article.c.body).where(
            article.c.id.in_(chunk), article.c.status == PUBLISHED
        )
        with engine.connect() as conn:
            rows = conn.execute(query).all()
        for row in rows:
            yield Story(chunk[row.id], row.cover, row.url, row.body)
