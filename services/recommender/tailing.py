"""Follows the log of behaviours, so that what readers click is in every worker's signals within
seconds.

A new worker takes in the clicks of the last 24 hours from SQL and goes on where the log was before
that, so nothing falls between; what both have counts once. Then it is ready. The log keeps ten
minutes that SQL has too: a worker that could not read for longer asks SQL again, as does one whose
clock was ahead and has been set back. Rejected: a worker
that begins with empty signals and serves; after each restart its readers would get the newest
articles for an hour.

    tail = Tail(redis, engine, signals, now_ms)
    tail.catch_up(since_ms=now_ms() - WARM_UP_MS)
    threading.Thread(target=tail.follow, args=(stopping,), daemon=True).start()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from prometheus_client import Counter, Gauge
from redis import Redis
from sqlalchemy import Engine

from services.recommender.signals.folding import AHEAD_S, Click, Signals
from tidings.process.clock import Clock, moment
from tidings.reading.acts import Action
from tidings.reading.behaviour_log import BEGINNING, KEEP_S, log_end, read_log
from tidings.reading.events import Event, Target
from tidings.reading.stored import clicks_since

WARM_UP_MS = 24 * 3600 * 1000
# What the log may repeat of what SQL has: an event is as old as its reader's clock says.
REPEATED_MS = 3600 * 1000
# The lock is held for two milliseconds at most, so that a flood of clicks holds up no feed.
FOLDED_AT_ONCE = 250
ENTRIES_AT_ONCE = 200
# Rejected: a read that blocks; how long Redis may take to answer is a setting, and may be less.
# Two looks a second cost a five-hundredth of a core; other readers see a burst of clicks in .3 s.
LOOK_EVERY_S = 0.5
AGAIN_AFTER_S = 1.0
STALE_AFTER_S = 60.0

log = structlog.get_logger(__name__)
FOLDED = Counter("tidings_signals_clicks_total", "Clicks that a worker took into its signals")
AHEAD = Counter(
    "tidings_signals_clicks_ahead_total",
    "Clicks left out because they lie more than 300 s ahead of the worker's clock",
)
FAILURES = Counter("tidings_signals_failures_total", "Looks into the log of behaviours that failed")
ACTIVE = Gauge(
    "tidings_signals_articles", "Articles that were clicked lately", multiprocess_mode="max"
)
FOLLOWED_AT = Gauge(
    "tidings_signals_followed_seconds",
    "When the worker that is most behind last read the log of behaviours, in seconds since the "
    "epoch",
    multiprocess_mode="livemin",
)

_Key = tuple[int, int, int]


class Tail:
    """Keeps signals up to the log; one thread calls it.

    Args:
        redis: holds the log.
        engine: the database, which has what the log has no more.
        signals: are folded into, under their lock.
        clock: now, in ms since the epoch.
    """

    def __init__(self, redis: Redis, engine: Engine, signals: Signals, clock: Clock) -> None:
        self._redis = redis
        self._engine = engine
        self._signals = signals
        self._clock = clock
        self._last_id = BEGINNING
        self._followed_s: float | None = None
        self._told_ahead = False

    def is_fresh(self) -> bool:
        """True once the signals are warm, and as long as the log could be read lately."""
        return self._followed_s is not None and time.monotonic() - self._followed_s < STALE_AFTER_S

    def catch_up(self, since_ms: int, progress: Callable[[], object] = lambda: None) -> None:
        """Take in all clicks since a moment: from SQL, and then what only the log has.

        Args:
            progress: called after each piece.

        Raises:
            SQLAlchemyError: the database did not answer; some clicks may have been taken in.
            RedisError: the log could not be read.
        """
        repeated: set[_Key] = set()
        repeated_from_ms = self._clock() - REPEATED_MS
        with self._engine.connect() as conn:
            for piece in clicks_since(conn, moment(since_ms)):
                self._fold(
                    Click(one.reader_id, one.article_id, one.at_ms // 1000, one.context, False)
                    for one in piece
                )
                repeated.update(
                    (one.reader_id, one.article_id, one.at_ms)
                    for one in piece
                    if one.at_ms >= repeated_from_ms
                )
                progress()
        end = log_end(self._redis)
        while self._read(repeated) and _place(self._last_id) < _place(end):
            progress()
        self._note_success()

    def follow(self, stop: threading.Event) -> None:
        """Read the log until `stop` is set; a look that fails, however, is tried again."""
        while not stop.is_set():
            try:
                is_more = self._look()
            except Exception as ex:  # noqa: BLE001 - counted and logged; readiness knows the age of the last success
                FAILURES.inc()
                log.warning("behaviours_not_followed", error=repr(ex))
                stop.wait(AGAIN_AFTER_S)
            else:
                if not is_more:
                    stop.wait(LOOK_EVERY_S)

    def _look(self) -> bool:
        behind_s = time.monotonic() - (self._followed_s or 0.0)
        if self._signals.is_ahead(self._clock() / 1000):
            log.warning("signals_ahead_of_clock")
            with self._signals.lock:
                self._signals.forget()
            self._last_id = BEGINNING
            self.catch_up(self._clock() - WARM_UP_MS)
        elif self._followed_s is None:
            self.catch_up(self._clock() - WARM_UP_MS)
        elif behind_s > KEEP_S / 2:
            self.catch_up(self._clock() - int(behind_s * 1000))
        is_more = self._read(set())
        if not is_more and _place(log_end(self._redis)) < _place(self._last_id):
            # Another log: Redis was emptied, and its clock set back. All of it is new.
            self._last_id = BEGINNING
            is_more = True
        self._note_success()
        return is_more

    def _read(self, repeated: set[_Key]) -> bool:
        """Fold the next piece of the log but for what is repeated; False if there was nothing."""
        events, last_id = read_log(self._redis, self._last_id, ENTRIES_AT_ONCE)
        self._fold(
            Click(one.reader_id, one.article_id, one.at_ms // 1000, one.context, one.undone)
            for one in events
            if _is_click(one)
            and (one.undone or not one.unreturned)
            and (one.undone or (one.reader_id, one.article_id, one.at_ms) not in repeated)
        )
        is_more = last_id != self._last_id
        self._last_id = last_id
        return is_more

    def _fold(self, clicks: Iterable[Click]) -> None:
        now_s = self._clock() / 1000
        waiting: Sequence[Click] = list(clicks)
        while waiting:
            with self._signals.lock:
                before = self._signals.ahead
                FOLDED.inc(self._signals.fold(waiting[:FOLDED_AT_ONCE], now_s))
                self._count_ahead(self._signals.ahead - before)
            waiting = waiting[FOLDED_AT_ONCE:]

    def _count_ahead(self, number: int) -> None:
        AHEAD.inc(number)
        if number and not self._told_ahead:
            # One line: a clock that is behind drops each click, and the metric says how many.
            self._told_ahead = True
            log.warning("clicks_ahead_of_clock", clicks=number, by_more_than_s=AHEAD_S)

    def _note_success(self) -> None:
        self._followed_s = time.monotonic()
        FOLLOWED_AT.set_to_current_time()
        ACTIVE.set(len(self._signals))


def _is_click(event: Event) -> bool:
    """Whether an event says that an article was clicked, or that it was not after all."""
    return event.action is Action.CLICK and event.target is Target.ARTICLE


def _place(entry_id: bytes) -> tuple[int, int]:
    """The order of an entry in the log."""
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number or 0)
