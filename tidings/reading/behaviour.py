"""What readers do: taken in durably at the door, folded into SQL a moment later.

A report is acknowledged once its events stand in the behaviour log; only then are they noted into
the reader's own state, which the very next request reads. A consumer moves the log to SQL, where
counting and training read it. An event's id is derived from its token, so a crash anywhere between
the two, or a reader who reports twice, stores it once. Rejected: inserting at the door, which ties
the readers' speed to the database's; and trimming a full log, which forgets events that were
acknowledged.

    behaviours.report([Report(token, at=now_ms())])  # [Verdict.ACCEPTED]
    behaviours.set_mark(7, Action.LIKING, Target.ARTICLE, 12)
    fold(engine, redis, consumer="daemon-1")  # 1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import groupby
from operator import attrgetter

import msgspec
import prometheus_client
from redis import Redis
from redis.client import Pipeline
from sqlalchemy import Engine

from tidings.process.clock import Clock
from tidings.reading.acts import Action
from tidings.reading.behaviour_log import BehaviourLog
from tidings.reading.events import MAX_READ_MS, Event, Target
from tidings.reading.exposing import with_batches
from tidings.reading.log_before import move_before
from tidings.reading.noting import Hideable, ReaderNotes
from tidings.reading.packed import Acted, unpack_standing
from tidings.reading.storing import Placed, store_events
from tidings.reading.tracking import Shown, TokenExpiredError, TokenRefusedError, Tracker
from tidings.store.keys import READER
from tidings.store.transacting import transact

REPORT_LIMIT = 100

EVENTS = prometheus_client.Counter(
    "tidings_behaviours_total", "Reported events by verdict", ["verdict"]
)
FOLDED = prometheus_client.Counter(
    "tidings_behaviours_folded_total", "Events folded into SQL by outcome", ["outcome"]
)


class Verdict(Enum):
    """What became of one reported event."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXPIRED = "expired"


class Report(msgspec.Struct, frozen=True):
    """One thing a reader did: the token that was given out for it, when (ms), for reading how long,
    and whether it is taken back."""

    track: str
    at: int = 0
    read_ms: int | None = None
    undone: bool = False


class Behaviours:
    """Takes in what readers do.

    Args:
        redis: keeps the log and the readers' states.
        tracker: reads the tokens.
        notes: writes the readers' states.
        backlog_limit: events that may wait for SQL before `BacklogFullError`.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self,
        redis: Redis,
        tracker: Tracker,
        notes: ReaderNotes,
        *,
        backlog_limit: int,
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._log = BehaviourLog(redis, backlog_limit)
        self._tracker = tracker
        self._notes = notes
        self._first_notes = notes.of_first_visits()
        self._clock = clock

    def report(self, reports: Sequence[Report]) -> list[Verdict]:
        """Store the events of these reports; returns once they are in the log, all or none, and the
        next feed of their readers knows them.

        Returns:
            One verdict for each report, in order.

        Raises:
            BacklogFullError: nothing was stored.
            RedisError: nothing may have been stored; reporting again is safe.
        """
        now_ms = self._clock()
        verdicts, events = [], []
        first_visits: set[int] = set()
        for report in reports:
            try:
                shown = self._tracker.read(report.track, now_ms)
            except TokenExpiredError:
                verdicts.append(Verdict.EXPIRED)
            except TokenRefusedError:
                verdicts.append(Verdict.REFUSED)
            else:
                if report.undone and shown.action is Action.EXPOSURE:
                    verdicts.append(Verdict.REFUSED)
                    continue
                verdicts.append(Verdict.ACCEPTED)
                events.append(_event(shown, report, now_ms))
                if shown.first_visit:
                    first_visits.add(shown.reader_id)
        if events:
            events = self._mark_unreturned(events, first_visits)
            self._take_in(with_batches(self._redis, events))
        for verdict in Verdict:
            EVENTS.labels(verdict.value).inc(verdicts.count(verdict))
        return verdicts

    def set_mark(
        self,
        reader_id: int,
        action: Action,
        target: Target,
        target_id: int,
        *,
        undone: bool = False,
        first_visit: bool = False,
    ) -> None:
        """Set a reader's mark on an article, an author or a channel, or take it back; both may be
        done as often as one likes. Returns once it is durable.

        Args:
            action: one of `events.MARKS`.
            target_id: of something that exists; the caller has seen to that.
            first_visit: the reader's id was made up for this request.

        Raises:
            BacklogFullError: nothing was changed.
            RedisError: nothing may have been changed; doing it again is safe.
        """
        of_article = target is Target.ARTICLE
        event = Event(
            action=action,
            reader_id=reader_id,
            channel_id=0,
            stamp_ms=0,
            article_id=target_id if of_article else 0,
            position=0,
            at_ms=self._clock(),
            undone=undone,
            target=target,
            target_id=0 if of_article else target_id,
            by_token=False,
            unreturned=first_visit,
        )
        self._take_in([event])

    def _mark_unreturned(self, events: Sequence[Event], first_visits: set[int]) -> list[Event]:
        """These events, with those marked whose readers have not come back since the first visit
        on which they were given their tokens: by a request of its own, before this one."""
        if not first_visits:
            return list(events)
        keys = {reader_id: READER.of(reader_id) for reader_id in first_visits}
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys.values():
                pipe.exists(key)
                pipe.hexists(key, "first")
            answers = pipe.execute()
        unreturned = {
            reader_id
            for reader_id, is_kept, is_first in zip(keys, answers[::2], answers[1::2], strict=True)
            if is_first or not is_kept
        }
        return [
            msgspec.structs.replace(event, unreturned=True)
            if event.reader_id in unreturned
            else event
            for event in events
        ]

    def _take_in(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._log.append(events)
        with self._redis.pipeline(transaction=False) as pipe:
            for reader_id, mine in _by_reader(events).items():
                self._note(pipe, reader_id, mine)
            pipe.execute()
            self._change_hidden(pipe, [event for event in events if event.action is Action.DISLIKE])

    def _change_hidden(self, pipe: Pipeline, dislikes: Sequence[Event]) -> None:
        """Hide what these dislike, and show what they take back. A token that was taken back
        before hides nothing: the acts that were just noted say so."""
        if not dislikes:
            return
        readers = list(dict.fromkeys(event.reader_id for event in dislikes))
        for reader_id in readers:
            pipe.hget(READER.of(reader_id), "acts")
        standing = dict(zip(readers, map(unpack_standing, _as_bytes(pipe.execute())), strict=True))
        for event in dislikes:
            act = (event.action, event.article_id)
            is_hidden = not event.undone and standing[event.reader_id].get(act, True)
            notes = self._first_notes if event.unreturned else self._notes
            change = notes.hide if is_hidden else notes.show
            target_id = event.target_id or event.article_id
            change(pipe, event.reader_id, Hideable(event.target), target_id)
        pipe.execute()

    def _note(self, pipe: Pipeline, reader_id: int, events: Sequence[Event]) -> None:
        """Write these events of a reader into their state."""
        notes = self._first_notes if all(one.unreturned for one in events) else self._notes
        seen = [event.stamp_ms for event in events if event.action is Action.EXPOSURE]
        if seen:
            notes.note_exposures(pipe, reader_id, seen)
        acts = [event for event in events if event.article_id]
        for undone, run in groupby(acts, key=attrgetter("undone")):
            acted = [
                Acted(event.action, event.article_id, event.stamp_ms, event.at_ms) for event in run
            ]
            (notes.undo_acts if undone else notes.note_acts)(pipe, reader_id, acted)


def fold(
    engine: Engine,
    redis: Redis,
    *,
    consumer: str,
    block_ms: int | None = None,
    max_entries: int = 64,
) -> int:
    """Move up to `max_entries` waiting reports into SQL, in one transaction: behaviours, exposures,
    marks, counters and readers.

    Any number of consumers may fold at once. Entries that a consumer took and never finished are
    taken over after 30 s.

    Args:
        consumer: names this consumer; the same one may not fold twice at the same time.
        block_ms: how long to wait for a report when there is none; None returns at once. Keep it
            below Redis's own time-out.

    Returns:
        The number of events that are done with.
    """
    log = BehaviourLog(redis)
    move_before(redis, log, consumer)
    entries = log.take(consumer, block_ms=block_ms, count=max_entries)
    if not entries:
        return 0
    placed = [
        Placed(entry.order(index), event)
        for entry in entries
        for index, event in enumerate(entry.events)
    ]

    # Another consumer may have stored some of the same events: the next look tells which are new.
    new = transact(engine, lambda conn: store_events(conn, placed))
    FOLDED.labels("stored").inc(new)
    FOLDED.labels("repeated").inc(len(placed) - new)
    log.acknowledge(entries)
    return sum(max(entry.size, 1) for entry in entries)


def _as_bytes(values: Iterable[bytes | None]) -> list[bytes]:
    return [value or b"" for value in values]


def _by_reader(events: Sequence[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {}
    for event in events:
        found.setdefault(event.reader_id, []).append(event)
    return found


def _event(shown: Shown, report: Report, now_ms: int) -> Event:
    # A reader's clock is a claim: nothing was done before it was shown, or after now.
    at_ms = report.at if shown.stamp_ms <= report.at <= now_ms and report.at > 0 else now_ms
    read_ms = None if report.read_ms is None else min(max(report.read_ms, 0), MAX_READ_MS)
    return Event(
        action=shown.action,
        reader_id=shown.reader_id,
        channel_id=shown.channel_id,
        stamp_ms=shown.stamp_ms,
        article_id=shown.article_id,
        position=shown.position,
        at_ms=at_ms,
        read_ms=read_ms,
        source=shown.source,
        variant=shown.variant,
        context=shown.context,
        undone=report.undone,
    )
