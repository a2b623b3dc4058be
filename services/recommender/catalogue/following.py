"""Every visible article in memory, by channel and newest first, kept within a second of the
database.

The pipeline asks "may this be shown?" and "what is next?" some hundred times a request, so the
answers must not cost a round trip. A thread reads what changed since it last looked, by
`updated_at`; that an article's time has come is seen by comparing its publication with the clock.
An article that cannot be taken in is set aside, and never the end of the thread. Rejected: SQL per
request, which grows with the reader's history; and notices through Redis, which can be lost and
then hide a take-down.

    catalogue = Catalogue(engine, now_ms)
    catalogue.refresh()
    catalogue.view().newest(10, now_ms())
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, Engine

from services.recommender.catalogue.view import NO_AUTHOR, NO_ROW, View, make_view
from tidings.news.changes import START, Change, changed_after, place_at
from tidings.news.channels import FOR_YOU, is_every_channel, read_channels
from tidings.news.storing import read_database_clock
from tidings.process.clock import Clock, milliseconds

REFRESH_S = 1.0
# Longer than any transaction may last, so that no row commits behind our back with an older
# `updated_at`.
OVERLAP = timedelta(seconds=30)
PAGE_ROWS = 5000
# So old, a catalogue may show what was taken down long ago: the process asks for no more work.
STALE_AFTER_S = 30.0

log = structlog.get_logger(__name__)
SIZE = Gauge("tidings_catalogue_articles", "Articles in the catalogue", multiprocess_mode="max")
REFRESHES = Counter(
    "tidings_catalogue_refreshes_total", "Looks for changed articles by outcome", ["outcome"]
)
REFRESHED_AT = Gauge(
    "tidings_catalogue_refreshed_seconds",
    "When the catalogue of the worker that is most behind was last brought up to date, in seconds "
    "since the epoch",
    multiprocess_mode="livemin",
)
SET_ASIDE = Counter(
    "tidings_catalogue_set_aside_total", "Articles that the catalogue could not take in"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the pipeline knows of an article."""

    article_id: int
    channel_id: int
    author_id: int | None
    published_ms: int


class Catalogue:
    """Answers for all threads at once; changed only by `refresh`.

    Args:
        engine: the database.
        clock: now, in ms since the epoch.
        read_now: the database's clock, by which changes are stamped.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        read_now: Callable[[Connection], datetime] = read_database_clock,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._entries: dict[int, Entry] = {}
        self._channel_ids: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._read_now = read_now
        self._read_until: datetime | None = None
        self._refreshed_s = time.monotonic()
        self._seen: dict[int, Change] = {}
        self._view: View | None = None

    def view(self) -> View:
        """The articles as the last look found them."""
        with self._lock:
            if self._view is None:
                entries = self._entries.values()
                self._view = make_view(
                    [entry.article_id for entry in entries],
                    [entry.channel_id for entry in entries],
                    [entry.author_id or NO_AUTHOR for entry in entries],
                    [entry.published_ms for entry in entries],
                )
            return self._view

    def __len__(self) -> int:
        return len(self._entries)

    def has_channel(self, channel_id: int) -> bool:
        """True for "for you" and for every channel of the site."""
        return is_every_channel(channel_id) or channel_id in self._channel_ids

    def channel_ids(self) -> list[int]:
        """ "For you" and every channel of the site."""
        return [FOR_YOU.channel_id, *self._channel_ids]

    def is_fresh(self) -> bool:
        """False once no refresh has succeeded for `STALE_AFTER_S`."""
        return time.monotonic() - self._refreshed_s < STALE_AFTER_S

    def get(self, article_id: int) -> Entry | None:
        """The article if it may be shown now."""
        view = self.view()
        row = view.rows_of([article_id])[0]
        if row == NO_ROW or view.published[row] > self._clock():
            return None
        return self._entries.get(article_id)

    def refresh(self) -> int:
        """Take in what changed since the last look; returns how many articles did.

        Raises:
            SQLAlchemyError: the database did not answer; the catalogue is as it was.
        """
        with self._engine.connect() as conn:
            now = self._read_now(conn)
            self._channel_ids = frozenset(known.channel_id for known in read_channels(conn))
        # The clock may have been set back since the last look, and the stamps with it.
        place = place_at(min(self._read_until, now) - OVERLAP) if self._read_until else START
        changed = 0
        while True:
            with self._engine.connect() as conn:
                rows = changed_after(conn, place, limit=PAGE_ROWS)
            changed += sum(self._look_at(row) for row in rows)
            if len(rows) < PAGE_ROWS:
                break
            place = rows[-1].place
        # The database's clock and not the newest row: an hour after an import, an idle site's look
        # finds nothing to read. Nor does a writer whose clock runs ahead hide what others write.
        self._read_until = now
        self._forget_before(now - OVERLAP)
        self._refreshed_s = time.monotonic()
        REFRESHED_AT.set_to_current_time()
        SIZE.set(len(self._entries))
        return changed

    def keep_fresh(self, stop: threading.Event) -> None:
        """Refresh once a second until `stop` is set; a look that fails, however, is tried again."""
        while not stop.wait(REFRESH_S):
            try:
                self.refresh()
            except Exception as ex:  # noqa: BLE001 - counted and logged; readiness knows the age of the last success
                REFRESHES.labels("failed").inc()
                log.warning("catalogue_not_refreshed", error=repr(ex))
            else:
                REFRESHES.labels("ok").inc()

    def _look_at(self, row: Change) -> bool:
        """Take in a row that changed; False for one that is known as it is."""
        # All of the row, since it can change twice in a millisecond.
        if self._seen.get(row.article_id) == row:
            return False
        self._seen[row.article_id] = row
        try:
            if row.published_at is None:
                raise ValueError("its publication is not a date")
            entry = Entry(
                article_id=row.article_id,
                channel_id=row.channel_id,
                author_id=row.author_id,
                published_ms=milliseconds(row.published_at),
            )
            self._take_in(entry, visible=row.is_published)
        except Exception as ex:  # noqa: BLE001 - one article is set aside, the others are taken in
            SET_ASIDE.inc()
            log.error("article_set_aside", article=row.article_id, error=repr(ex))
            self._drop(row.article_id)
        return True

    def _take_in(self, entry: Entry, *, visible: bool) -> None:
        if not visible:
            self._drop(entry.article_id)
            return
        with self._lock:
            # Replaced in one step: `get` takes no lock, and must not miss an article that was only
            # edited.
            self._entries[entry.article_id] = entry
            self._view = None

    def _drop(self, article_id: int) -> None:
        with self._lock:
            self._entries.pop(article_id, None)
            self._view = None

    def _forget_before(self, moment: datetime) -> None:
        # Only what the next look will read again needs to be recognised.
        self._seen = {
            id_: row
            for id_, row in self._seen.items()
            if row.updated_at is None or row.updated_at >= moment
        }
