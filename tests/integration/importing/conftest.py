"""A small web server, and questions about what an import left in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from tests.lab.web import Web, serve_web
from tidings.importing.addresses import FetchRules
from tidings.news.tables import article, article_count, author, channel

# Servers of tests are on this machine.
ANYWHERE = FetchRules(private_addresses=True)


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server of one's own."""
    with serve_web() as served:
        yield served


class Stored:
    """What is in the database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def articles(self) -> dict[str, Any]:
        """Source id → row, with the channel's slug and the author's name."""
        query = (
            select(article, channel.c.slug, author.c.name)
            .join(channel, channel.c.id == article.c.channel_id)
            .outerjoin(author, author.c.id == article.c.author_id)
        )
        with self.engine.connect() as conn:
            return {row.source_id: row for row in conn.execute(query)}

    def count(self, table: Any = article) -> int:
        with self.engine.connect() as conn:
            return int(conn.scalar(select(func.count()).select_from(table)) or 0)

    def is_whole(self) -> bool:
        """Every article has its counts, and no source id is there twice."""
        with self.engine.connect() as conn:
            ids = set(conn.scalars(select(article.c.id)))
            sources = list(conn.scalars(select(article.c.source_id)))
            return ids == set(conn.scalars(select(article_count.c.article_id))) and len(
                set(sources)
            ) == len(sources)


@pytest.fixture
def stored(engine: Engine) -> Stored:
    """Questions to the database under test."""
    return Stored(engine)


def make_row(number: int, **values: Any) -> dict[str, Any]:
    """A row that is fine."""
    plain = {
        "id": f"n{number}",
        "title": f"Title {number}",
        "body": f"Body *{number}*.",
        "channel": "news",
    }
    return plain | {"author": f"Author {number % 3}", "published": "2026-01-31T08:30:00Z"} | values


def write_jsonl(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    """Rows as a JSONL file; a string is a line as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return path
