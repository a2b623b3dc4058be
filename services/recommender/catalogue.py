"""Every visible article in memory, by channel and newest first, kept within a second of the
database.

The pipeline asks "may this be shown?" and "what is next?" some hundred times a request, so the
answers must not cost a round trip. A thread reads what changed since it last looked, by
`updated_at`; that an article's time has come is seen by comparing its publication with the clock.
Rejected: SQL per request, which grows with the reader's history; and notices through Redis, which
can be lost and then hide a take-down.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError

from tidings.news.articles import PUBLISHED
from tidings.news.tables import article, channel
from tidings.process.clock import Clock, milliseconds, moment

FOR_YOU = 0
REFRESH_S = 1.0
# Longer than any transaction may last, so that no row commits behind our back with an older
# `updated_at`.
OVERLAP = timedelta(seconds=30)
PAGE_ROWS = 5000

log = structlog.get_logger(__name__)
SIZE = Gauge("tidings_catalogue_articles", "Articles in the catalogue", multiprocess_mode="max")
REFRESHES = Counter(
    "tidings_catalogue_refreshes_total", "Looks for changed articles by outcome", ["outcome"]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the pipeline knows of an article."""

    article_id: int
    channel_id: int
    author_id: int | None
    published_ms: int


class _Timeline:
    """Ids in order of publication; equal moments in order of id."""

    def __init__(self) -> None:
        self.published = array("q")
        self.ids = array("q")

    def add(self, entry: Entry) -> None:
        at = self._find(entry)
        self.published.insert(at, entry.published_ms)
        self.ids.insert(at, entry.article_id)

    def remove(self, entry: Entry) -> None:
        at = self._find(entry)
        del self.published[at], self.ids[at]

    def newest_first(self, now_ms: int) -> Iterator[int]:
        for at in range(bisect_right(self.published, now_ms) - 1, -1, -1):
            yield self.ids[at]

    def _find(self, entry: Entry) -> int:
        lo = bisect_left(self.published, entry.published_ms)
        hi = bisect_right(self.published, entry.published_ms, lo=lo)
        return bisect_left(self.ids, entry.article_id, lo=lo, hi=hi)


class Catalogue:
    """Answers for all threads at once; changed only by `refresh`.

    Args:
        engine: the database.
        clock: now, in ms since the epoch.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._entries: dict[int, Entry] = {}
        self._timelines: dict[int, _Timeline] = {}
        self._channel_ids: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._read_until = datetime.fromtimestamp(0, UTC)
        self._seen: dict[int, Row[*tuple[Any, ...]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def has_channel(self, channel_id: int) -> bool:
        """True for 0 and for every channel of the site."""
        return channel_id == FOR_YOU or channel_id in self._channel_ids

    def get(self, article_id: int) -> Entry | None:
        """The article if it may be shown now."""
        entry = self._entries.get(article_id)
        return entry if entry is not None and entry.published_ms <= self._clock() else None

    def newest_first(
        self, channel_id: int, wanted: Callable[[int], bool], limit: int
    ) -> list[Entry]:
        """Up to `limit` articles of a channel for which `wanted(article_id)`, newest first; channel
        0 is all."""
        found: list[Entry] = []
        with self._lock:
            timeline = self._timelines.get(channel_id)
            if timeline is None:
                return found
            for article_id in timeline.newest_first(self._clock()):
                if wanted(article_id):
                    found.append(self._entries[article_id])
                    if len(found) == limit:
                        break
        return found

    def refresh(self) -> int:
        """Take in what changed since the last look; returns how many articles did.

        Raises:
            SQLAlchemyError: the database did not answer; the catalogue is as it was.
        """
        with self._engine.connect() as conn:
            self._channel_ids = frozenset(conn.scalars(select(channel.c.id)))
        since = self._read_until - OVERLAP if self._seen else self._read_until
        changed = 0
        columns = (
            article.c.id,
            article.c.channel_id,
            article.c.author_id,
            article.c.published_at,
            article.c.status,
            article.c.updated_at,
        )
        last: tuple[datetime, int] = (since, 0)
        while True:
            newer = (article.c.updated_at > last[0]) | (
                (article.c.updated_at == last[0]) & (article.c.id > last[1])
            )
            query = (
                select(*columns)
                .where(newer)
                .order_by(article.c.updated_at, article.c.id)
                .limit(PAGE_ROWS)
            )
            with self._engine.connect() as conn:
                rows = conn.execute(query).all()
            for row in rows:
                # All of the row, since it can change twice in a millisecond.
                if self._seen.get(row.id) != row:
                    entry = Entry(
                        row.id, row.channel_id, row.author_id, milliseconds(row.published_at)
                    )
                    self._take_in(entry, visible=row.status == PUBLISHED)
                    self._seen[row.id] = row
                    changed += 1
            if rows:
                last = (rows[-1].updated_at, rows[-1].id)
            if len(rows) < PAGE_ROWS:
                break
        # A writer whose clock runs ahead must not make us skip what the others write.
        self._read_until = min(max(self._read_until, last[0]), moment(self._clock()))
        self._forget_before(self._read_until - OVERLAP)
        SIZE.set(len(self._entries))
        return changed

    def keep_fresh(self, stop: threading.Event) -> None:
        """Refresh once a second until `stop` is set; a database that is away is tried again."""
        while not stop.wait(REFRESH_S):
            try:
                self.refresh()
            except SQLAlchemyError as ex:
                REFRESHES.labels("failed").inc()
                log.warning("catalogue_not_refreshed", error=repr(ex))
            else:
                REFRESHES.labels("ok").inc()

    def _take_in(self, entry: Entry, *, visible: bool) -> None:
        with self._lock:
            old = self._entries.get(entry.article_id)
            if old is not None:
                for channel_id in (FOR_YOU, old.channel_id):
                    self._timelines[channel_id].remove(old)
            if visible:
                # Replaced in one step: `get` takes no lock, and must not miss an article that was
                # only edited.
                self._entries[entry.article_id] = entry
                for channel_id in (FOR_YOU, entry.channel_id):
                    self._timelines.setdefault(channel_id, _Timeline()).add(entry)
            elif old is not None:
                del self._entries[entry.article_id]

    def _forget_before(self, moment: datetime) -> None:
        # Only what the next look will read again needs to be recognised.
        self._seen = {id_: row for id_, row in self._seen.items() if row.updated_at >= moment}
