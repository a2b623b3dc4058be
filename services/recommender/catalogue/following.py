"""Follows the database: everything once, and from then on what changed, a second later at most.

Two readings keep the view true. A *look*, about each second, reads by `updated_at` what changed
since the last one, by the database's clock. It reads a little of the past again, for transactions
that committed late; further back only if that is cheap, or once in a while. The *sweep* compares
the next few hundred rows with each look, so that rows that were deleted, or stamped by another
clock, are found by and by. An article that cannot be read is set aside. Rejected: notices through
Redis, which can be lost and then hide a take-down.

    catalogue = Catalogue(engine, now_ms)
    catalogue.refresh()  # reads everything; again reads what changed
    catalogue.keep_fresh(stop)  # in a thread of its own
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import numpy as np
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, Engine

from services.recommender.catalogue.columns import Columns, join, read_columns
from services.recommender.catalogue.merging import changes_of, merge, removal_of
from services.recommender.catalogue.view import View, make_view
from tidings.news.changes import RawRow, articles_after, changed_after, place_at, place_of
from tidings.news.channels import FOR_YOU, is_every_channel, read_channel_ids
from tidings.news.storing import read_database_clock
from tidings.process.clock import Clock

# With what a look itself takes, a take-down is out of every feed within a second.
REFRESH_S = 0.7
PAGE_ROWS = 10_000
# Longer than any transaction may last, so that no row commits behind our back with an older
# `updated_at`.
OVERLAP = timedelta(seconds=30)
# After an import the overlap holds many rows, and to read them with each look would delay what
# editors do. Each look then reads only this much of it again, and all of it once in `OVERLAP`.
SHORT_OVERLAP = timedelta(seconds=2)
CHEAP_ROWS = 5000
# At .7 s a look: a million articles in an hour.
SWEEP_ROWS = 200
# So old, a catalogue may show what was taken down long ago: the process asks for no more work.
STALE_AFTER_S = 30.0
TELL_EVERY_S = 5.0
# More articles than this that cannot be read are no accident, and are counted only.
ASIDE_NAMED = 1000

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


class Catalogue:
    """Answers for all threads at once; changed only by `refresh`, which one thread calls.

    Args:
        engine: the database.
        clock: now, in ms since the epoch, to tell when it was last brought up to date.
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
        self._read_now = read_now
        self._view = make_view([], [], [], [])
        self._channel_ids: frozenset[int] = frozenset()
        # By the database's clock: the last look, and the last one over all of the overlap.
        self._looked_at: datetime | None = None
        self._looked_back_at: datetime | None = None
        self._is_cheap = True
        self._swept_to = 0
        self._aside: dict[int, RawRow] = {}
        self._refreshed_s = time.monotonic()

    def view(self) -> View:
        """The articles as the last look found them."""
        return self._view

    def has_channel(self, channel_id: int) -> bool:
        """True for "for you" and for every channel of the site."""
        return is_every_channel(channel_id) or channel_id in self._channel_ids

    def channel_ids(self) -> list[int]:
        """ "For you" and every channel of the site."""
        return [FOR_YOU.channel_id, *self._channel_ids]

    def is_fresh(self) -> bool:
        """False once no refresh has succeeded for `STALE_AFTER_S`."""
        return time.monotonic() - self._refreshed_s < STALE_AFTER_S

    def refresh(self, progress: Callable[[], None] = lambda: None) -> int:
        """Take in what changed since the last look, or everything the first time; returns how many
        articles did.

        Args:
            progress: called now and then while there is much to read.

        Raises:
            SQLAlchemyError: the database did not answer; the catalogue is as it was.
        """
        with self._engine.connect() as conn:
            now = self._read_now(conn)
            self._channel_ids = read_channel_ids(conn)
        if self._looked_at is None or self._looked_back_at is None:
            self._view = self._read_all(progress)
            # By the clock of before: what changes meanwhile is read again by the next look.
            self._looked_at = self._looked_back_at = now
            changed = len(self._view)
            _give_memory_back()
        else:
            found = [*self._look(now, self._looked_at, self._looked_back_at), *self._sweep()]
            changes = changes_of(self._view, join(found))
            changed = len(changes)
            if changed:
                self._view = merge(self._view, changes)
                _give_memory_back()
        self._refreshed_s = time.monotonic()
        REFRESHED_AT.set(self._clock() / 1000)
        SIZE.set(len(self._view))
        return changed

    def keep_fresh(self, stop: threading.Event) -> None:
        """Refresh about once a second until `stop` is set. A look that fails, however, is tried
        again."""
        while not stop.wait(REFRESH_S):
            try:
                self.refresh()
            except Exception as ex:  # noqa: BLE001 - counted and logged; readiness knows the age of the last success
                REFRESHES.labels("failed").inc()
                log.warning("catalogue_not_refreshed", error=repr(ex))
            else:
                REFRESHES.labels("ok").inc()

    def _read_all(self, progress: Callable[[], None]) -> View:
        started_s = told_s = time.monotonic()
        parts, last = [], 0
        while True:
            with self._engine.connect() as conn:
                rows = articles_after(conn, last, limit=PAGE_ROWS)
            columns = self._read(rows)
            parts.append(columns.take(columns.is_published))
            progress()
            if time.monotonic() - told_s > TELL_EVERY_S:
                told_s = time.monotonic()
                log.info("catalogue_loading", articles=sum(len(part) for part in parts))
            if len(rows) < PAGE_ROWS:
                break
            last = rows[-1].id
        every = join(parts)
        view = make_view(
            every.ids, every.channels, every.authors, every.published, updated=every.updated
        )
        log.info(
            "catalogue_loaded",
            articles=len(view),
            set_aside=len(self._aside),
            seconds=round(time.monotonic() - started_s, 1),
        )
        return view

    def _look(self, now: datetime, last: datetime, last_back: datetime) -> list[Columns]:
        """What changed since the last look, by stamps of up to a little ahead of the database's
        clock."""
        goes_back = self._is_cheap or not timedelta(0) <= now - last_back < OVERLAP
        # The clock may have been set back since then, and the stamps with it.
        since = min(last_back, now) - OVERLAP if goes_back else min(last, now) - SHORT_OVERLAP
        place, found, read = place_at(since), [], 0
        while True:
            with self._engine.connect() as conn:
                rows = changed_after(conn, place, until=now + OVERLAP, limit=PAGE_ROWS)
            found.append(self._read(rows))
            read += len(rows)
            if len(rows) < PAGE_ROWS:
                break
            place = place_of(rows[-1])
        # The database's clock and not the newest row: an hour after an import, an idle site's look
        # finds nothing to read. Nor does a writer whose clock runs ahead hide what others write.
        self._looked_at = now
        if goes_back:
            self._looked_back_at, self._is_cheap = now, read <= CHEAP_ROWS
        return found

    def _sweep(self) -> list[Columns]:
        """The next articles by id, and as gone those that the view has in between."""
        first = self._swept_to
        with self._engine.connect() as conn:
            rows = articles_after(conn, first, limit=SWEEP_ROWS)
        is_end = len(rows) < SWEEP_ROWS
        self._swept_to = 0 if is_end else rows[-1].id
        ids = self._view.ids
        stop = len(ids) if is_end else np.searchsorted(ids, self._swept_to, side="right")
        here = ids[np.searchsorted(ids, first, side="right") : stop]
        gone = np.setdiff1d(here, [row.id for row in rows], assume_unique=True)
        return [self._read(rows), removal_of(gone)]

    def _read(self, rows: Sequence[RawRow]) -> Columns:
        """The rows as columns; one that cannot be read is told once, and then as gone."""
        columns, unreadable = read_columns(rows)
        if self._aside:
            for mended in np.intersect1d(columns.ids, [*self._aside]).tolist():
                del self._aside[mended]
        for row in unreadable:
            if self._aside.get(row.id) != row:
                SET_ASIDE.inc()
                if len(self._aside) < ASIDE_NAMED:
                    self._aside[row.id] = row
                    log.error("article_set_aside", article=row.id)
        if not unreadable:
            return columns
        return join([columns, removal_of(np.array([row.id for row in unreadable]))])


def _give_memory_back() -> None:
    """What was in columns of before, which glibc keeps for the process: half as much again."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
