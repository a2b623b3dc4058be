"""Folds what readers saw from the database: the last day when a worker starts, then what comes in.

What a place of a page is worth, and how often an article was shown, may be a minute old. So a
thread asks SQL every five seconds, where an exposure stands with its articles, and feeds are served
before it has begun. What is reported more than a minute late is not counted. Rejected: the reports
in the log, which name a batch by its stamp and not by its articles.

    follower = ExposureFollower(engine, exposures, now_ms)
    threading.Thread(target=follower.follow, args=(stop,), daemon=True).start()
"""

from __future__ import annotations

import threading

import structlog
from prometheus_client import Counter
from sqlalchemy import Engine

from services.recommender.exposures import Exposures
from tidings.process.clock import Clock, moment
from tidings.reading.stored import clicks_since, exposures_since

WARM_UP_MS = 24 * 3_600_000
LOOK_EVERY_S = 5.0
# What comes into the database so long after it happened is still found, once.
OVERLAP_MS = 60_000

log = structlog.get_logger(__name__)
FAILURES = Counter("tidings_exposures_failures_total", "Looks for what readers saw that failed")

_Key = tuple[int, int, int]


class ExposureFollower:
    """Keeps `Exposures` up to the database; one thread calls it.

    Args:
        engine: the database.
        exposures: are folded into.
        clock: now, in ms since the epoch.
    """

    def __init__(self, engine: Engine, exposures: Exposures, clock: Clock) -> None:
        self._engine = engine
        self._exposures = exposures
        self._clock = clock
        self._since_ms: int | None = None
        self._known: dict[_Key, int] = {}

    def follow(self, stop: threading.Event) -> None:
        """Look every five seconds until `stop` is set; a look that fails is tried again."""
        while True:
            try:
                self.look()
            except Exception as ex:  # noqa: BLE001 - counted and logged; what was folded stays
                FAILURES.inc()
                log.warning("exposures_not_followed", error=repr(ex))
            if stop.wait(LOOK_EVERY_S):
                return

    def look(self) -> None:
        """Fold what was stored since the last look.

        Raises:
            SQLAlchemyError: the database did not answer; the next look goes on from here.
        """
        now_ms = self._clock()
        since = moment(now_ms - WARM_UP_MS if self._since_ms is None else self._since_ms)
        with self._engine.connect() as conn:
            for batches in exposures_since(conn, since):
                for batch in batches:
                    # Negative, so that no batch is taken for a click.
                    key = (-batch.reader_id, batch.channel_id, batch.stamp_ms)
                    if self._is_new(key, batch.at_ms):
                        self._exposures.fold_batch(batch.article_ids, batch.at_ms)
            for clicks in clicks_since(conn, since):
                for click in clicks:
                    key = (click.reader_id, click.article_id, click.at_ms)
                    if self._is_new(key, click.at_ms):
                        self._exposures.fold_click(click.position, click.at_ms)
        # A clock that was set back must not make what is known new.
        self._since_ms = max(now_ms - OVERLAP_MS, self._since_ms or 0)
        self._known = {key: at for key, at in self._known.items() if at >= self._since_ms}

    def _is_new(self, key: _Key, at_ms: int) -> bool:
        if key in self._known:
            return False
        self._known[key] = at_ms
        return True
