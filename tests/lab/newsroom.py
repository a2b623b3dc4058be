"""A clock that moves only when told to, and articles put straight into the database: what most
rules' tests need."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from tidings.news.tables import article, article_count, author, channel
from tidings.news.visibility import PUBLISHED
from tidings.process.clock import moment
from tidings.reading.tables import behaviour, exposure
from tidings.store.engine import transaction

NOW_MS = 1_795_435_200_000
SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Clock:
    """Milliseconds since the epoch; it stands still until it is moved, in either direction."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, ms: int) -> int:
        """Move by `ms` and return the new time."""
        self.now_ms += ms
        return self.now_ms


class Newsroom:
    """Writes channels, authors and articles, stamped with its clock."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self._numbers = itertools.count(1)

    def read_now(self, _conn: Connection) -> datetime:
        """The clock, for a rule that asks the database's."""
        return moment(self.clock())

    def channels(self, *ids: int) -> None:
        """Open channels of these ids."""
        with transaction(self.engine) as conn:
            rows = [{"id": id_, "slug": f"channel-{id_}", "name": f"Channel {id_}"} for id_ in ids]
            conn.execute(insert(channel), rows)

    def authors(self, *ids: int) -> None:
        """Hire authors of these ids."""
        with transaction(self.engine) as conn:
            conn.execute(insert(author), [{"id": id_, "name": f"Author {id_}"} for id_ in ids])

    def article(self, **values: Any) -> int:
        """Put in one article and return its id; what is not said has a plain default."""
        return self.articles(1, **values)[0]

    def articles(self, number: int, *, apart_ms: int = MINUTE_MS, **values: Any) -> list[int]:
        """Put in articles, each published `apart_ms` before the last one; returns their ids, newest
        first."""
        now_ms = self.clock()
        published_ms = values.pop("published_ms", now_ms - HOUR_MS)
        updated_ms = values.pop("updated_ms", now_ms)
        rows = []
        for place in range(number):
            serial = next(self._numbers)
            row = {
                "source_id": f"test-{serial}",
                "channel_id": 1,
                "author_id": None,
                "title": f"Title {serial}",
                "summary": f"Summary {serial}",
                "body": f"<p>Body {serial}</p>",
                "cover": None,
                "url": None,
                "status": PUBLISHED,
                "published_at": moment(published_ms - place * apart_ms),
                "updated_at": moment(updated_ms),
            }
            rows.append(row | values)
        with transaction(self.engine) as conn:
            first = (conn.scalar(select(func.max(article.c.id))) or 0) + 1
            for offset, row in enumerate(rows):
                row.setdefault("id", first + offset)
            conn.execute(insert(article), rows)
        return [int(str(row["id"])) for row in rows]

    def change(self, article_id: int, **values: Any) -> None:
        """Change an article; `updated_at` is the clock's unless `updated_ms` says otherwise."""
        updated_ms = values.pop("updated_ms", self.clock())
        if "published_ms" in values:
            values["published_at"] = moment(values.pop("published_ms"))
        with transaction(self.engine) as conn:
            query = update(article).where(article.c.id == article_id)
            conn.execute(query.values(updated_at=moment(updated_ms), **values))

    def remove(self, article_id: int) -> None:
        """Take an article's row away altogether."""
        with transaction(self.engine) as conn:
            conn.execute(delete(article).where(article.c.id == article_id))

    def counts(self, article_id: int) -> dict[str, int]:
        """What is counted for an article; empty when nothing ever was."""
        with self.engine.connect() as conn:
            row = (
                conn.execute(select(article_count).where(article_count.c.article_id == article_id))
                .mappings()
                .first()
            )
        return {name: value for name, value in (row or {}).items() if name != "article_id"}

    def behaviours(self) -> Sequence[Any]:
        """Every stored behaviour, in the order of the articles and places they are about."""
        order = (
            behaviour.c.reader_id,
            behaviour.c.action,
            behaviour.c.batch_stamp,
            behaviour.c.position,
        )
        with self.engine.connect() as conn:
            return conn.execute(select(behaviour).order_by(*order)).all()

    def exposures(self) -> Sequence[Any]:
        """Every batch that is stored as seen, in the order in which they were stored."""
        with self.engine.connect() as conn:
            return conn.execute(select(exposure).order_by(exposure.c.id)).all()
