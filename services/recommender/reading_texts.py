"""Keeps the vectors of the newest articles beside the catalogue: a thread reads what articles say
after the worker has started, and again when the catalogue tells that one has changed.

A worker serves before any text is read; a feed without texts is a little less apt, and no feed is
worse. Reading takes .3 ms of a core an article, so the thread rests as long as it works, and the
first articles are of use long before the last. Rejected: vectors stored in the database, which
every change of how they are made would have to write anew.

    keeper = TextKeeper(engine, catalogue.view)
    threading.Thread(target=keeper.keep, args=(stop,), daemon=True).start()
    keeper.texts().similar(7, most=10)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine

from services.recommender.catalogue import View
from services.recommender.sorted_ids import find_in
from services.recommender.texts import MOST_ARTICLES, NO_WORDS, Texts
from tidings.news.texts import read_texts

LOOK_EVERY_S = 1.0
READ_AT_ONCE = 200
LONGEST_REST_S = 1.0

log = structlog.get_logger(__name__)
READ = Counter("tidings_texts_read_total", "Texts of articles read by outcome", ["outcome"])
KEPT = Gauge(
    "tidings_texts", "Articles whose text is known to this worker", multiprocess_mode="max"
)


class TextKeeper:
    """Follows a catalogue; one thread calls `keep` or `refresh`, any may ask for `texts`.

    Args:
        engine: the database.
        look: the catalogue as it is now.
    """

    def __init__(self, engine: Engine, look: Callable[[], View]) -> None:
        self._engine = engine
        self._look = look
        self._words = NO_WORDS
        self._texts = Texts(NO_WORDS)
        self._view: View | None = None

    def texts(self) -> Texts:
        """The vectors as they are now; a value that never changes."""
        return self._texts

    def keep(self, stop: threading.Event) -> None:
        """Look for changes once a second until `stop` is set; a look that fails is tried again."""
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.refresh(stop)
            except Exception as ex:  # noqa: BLE001 - counted and logged; the vectors stay as they are
                READ.labels("failed").inc()
                log.warning("texts_not_read", error=repr(ex))

    def refresh(self, stop: threading.Event) -> None:
        """Read what the catalogue has anew, newest first, and forget what it has no longer.

        Raises:
            SQLAlchemyError: the database did not answer; what was read until then stays.
        """
        view = self._look()
        if view is self._view:
            return
        rows = view.by_time[:MOST_ARTICLES]
        ids, stamps = view.ids[rows], view.updated[rows]
        gone = np.setdiff1d(self._words.ids, ids)
        if len(gone):
            self._words = self._words.without(gone)
            self._publish()
        places = find_in(self._words.ids, ids)
        changed = places < 0
        changed[~changed] = self._words.stamps[places[~changed]] != stamps[~changed]
        left = np.flatnonzero(changed)
        for start in range(0, len(left), READ_AT_ONCE):
            started_s = time.monotonic()
            part = left[start : start + READ_AT_ONCE]
            self._read(ids[part].tolist(), stamps[part].tolist())
            # Made anew at each doubling: all of it together costs twice the last time.
            if len(self._words.ids) >= 2 * len(self._texts):
                self._publish()
            if stop.wait(min(time.monotonic() - started_s, LONGEST_REST_S)):
                return
        if len(left):
            self._publish()
        self._view = view

    def _read(self, ids: Sequence[int], stamps: Sequence[int]) -> None:
        with self._engine.connect() as conn:
            texts = read_texts(conn, ids)
        # One that went meanwhile has no words, rather than being asked for again and again.
        every = {id_: texts.get(id_, "") for id_ in ids}
        self._words = self._words.changed(every, dict(zip(ids, stamps, strict=True)))
        READ.labels("ok").inc(len(texts))

    def _publish(self) -> None:
        self._texts = Texts(self._words)
        KEPT.set(len(self._texts))
