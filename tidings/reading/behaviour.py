"""What readers do: taken in durably at the door, folded into SQL a moment later.

A report is acknowledged once its events stand in a Redis stream; a consumer group moves them to
SQL, where counting and training read them. An event's id is derived from its token, so a crash
anywhere between the two, or a reader who reports twice, stores it once. Rejected: inserting at the
door, which ties the readers' speed to the database's; and trimming a full stream, which forgets
events that were acknowledged.

    behaviours.report([Report(token, at=now_ms())])  # [Verdict.ACCEPTED]
    fold(engine, redis, consumer="daemon-1")  # 1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import msgspec
import prometheus_client
import structlog
from redis import Redis, ResponseError
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.dialects import mysql, sqlite

from tidings.news.articles import existing_ids
from tidings.news.counts import add_counts
from tidings.process.clock import Clock, moment
from tidings.reading.acts import Action
from tidings.reading.history import find_batches
from tidings.reading.tables import behaviour, reader
from tidings.reading.tracking import Shown, TokenExpiredError, TokenRefusedError, Tracker
from tidings.store.engine import transaction
from tidings.store.keys import BEHAVIOUR, DEAD_BEHAVIOUR
from tidings.store.retry import is_overtaken, run_again

STREAM = BEHAVIOUR.of()
DEAD_STREAM = DEAD_BEHAVIOUR.of()
GROUP = "fold"
CLAIM_AFTER_MS = 30_000
REPORT_LIMIT = 100
MAX_READ_MS = 24 * 3600 * 1000

log = structlog.get_logger(__name__)
EVENTS = prometheus_client.Counter(
    "tidings_behaviours_total", "Reported events by verdict", ["verdict"]
)
FOLDED = prometheus_client.Counter(
    "tidings_behaviours_folded_total", "Events folded into SQL by outcome", ["outcome"]
)


class BacklogFullError(Exception):
    """So many events wait for SQL that no more are taken in; the caller keeps them and tries
    again."""


class Verdict(Enum):
    """What became of one reported event."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXPIRED = "expired"


class Report(msgspec.Struct, frozen=True):
    """One thing a reader did: the token that was given out for it, when (ms), and for reading how
    long."""

    track: str
    at: int = 0
    read_ms: int | None = None


# What no table can hold is undecodable too: one such entry would fail every fold that meets it, for
# ever.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class _Event(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """An entry of the stream: what happened, where, and when. An array there, so the order of the
    fields is a promise; here each is named."""

    action: Action
    reader_id: _Int64
    channel_id: _Int32
    stamp_ms: _Int64
    article_id: _Int64
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    at_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    read_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_READ_MS)] | None

    def shown(self) -> Shown:
        return Shown(
            self.action,
            self.reader_id,
            self.channel_id,
            stamp_ms=self.stamp_ms,
            article_id=self.article_id,
            position=self.position,
        )


class Behaviours:
    """Takes reports in.

    Args:
        redis: keeps the stream; how durable an acknowledged event is, is its `appendfsync`.
        tracker: reads the tokens.
        backlog_limit: events that may wait for SQL before `BacklogFullError`.
        clock: now, in ms since the epoch.
    """

    def __init__(self, redis: Redis, tracker: Tracker, *, backlog_limit: int, clock: Clock) -> None:
        self._redis = redis
        self._tracker = tracker
        self._backlog_limit = backlog_limit
        self._clock = clock

    def report(self, reports: Sequence[Report]) -> list[Verdict]:
        """Store the events of these reports; returns once they are in the stream, all or none.

        Returns:
            One verdict for each report, in order.

        Raises:
            BacklogFullError: nothing was stored.
            RedisError: nothing may have been stored; reporting again is safe.
        """
        now_ms = self._clock()
        verdicts, events = [], []
        for report in reports:
            try:
                shown = self._tracker.read(report.track, now_ms)
            except TokenExpiredError:
                verdicts.append(Verdict.EXPIRED)
            except TokenRefusedError:
                verdicts.append(Verdict.REFUSED)
            else:
                verdicts.append(Verdict.ACCEPTED)
                events.append(_event(shown, report, now_ms))
        if events:
            self._store(events)
        for verdict in verdicts:
            EVENTS.labels(verdict.value).inc()
        return verdicts

    def _store(self, events: Sequence[_Event]) -> None:
        if self._redis.xlen(STREAM) + len(events) > self._backlog_limit:
            raise BacklogFullError("too many events wait to be stored; report again later")
        with self._redis.pipeline(transaction=True) as pipe:
            for event in events:
                pipe.xadd(STREAM, {b"e": msgspec.json.encode(event)})
            pipe.execute()


def _event(shown: Shown, report: Report, now_ms: int) -> _Event:
    # A reader's clock is a claim: nothing was done before it was shown, or after now.
    at_ms = report.at if shown.stamp_ms <= report.at <= now_ms else now_ms
    read_ms = None if report.read_ms is None else min(max(report.read_ms, 0), MAX_READ_MS)
    return _Event(
        action=shown.action,
        reader_id=shown.reader_id,
        channel_id=shown.channel_id,
        stamp_ms=shown.stamp_ms,
        article_id=shown.article_id,
        position=shown.position,
        at_ms=at_ms,
        read_ms=read_ms,
    )


def fold(
    engine: Engine,
    redis: Redis,
    *,
    consumer: str,
    block_ms: int | None = None,
    max_entries: int = 1000,
) -> int:
    """Move up to `max_entries` waiting events into SQL: behaviours, counters and readers, in one
    transaction.

    Any number of consumers may fold at once. Entries that a consumer took and never finished are
    taken over after 30 s.

    Args:
        consumer: names this consumer; the same one may not fold twice at the same time.
        block_ms: how long to wait for an event when there is none; None returns at once. Keep it
            below Redis's own time-out.

    Returns:
        The number of entries that are done with.
    """
    _ensure_group(redis)
    entries = _claim_or_read(redis, consumer, block_ms, max_entries)
    if not entries:
        return 0
    events = _decode(redis, entries)
    rows = _to_rows(events, redis)

    def store() -> int:
        with transaction(engine) as conn:
            return store_rows(conn, rows)

    # Another consumer may have stored some of the same events: the next look tells which are new.
    new = run_again(store, passes=is_overtaken)
    FOLDED.labels("stored").inc(new)
    FOLDED.labels("repeated").inc(len(rows) - new)
    ids = [entry_id for entry_id, _ in entries]
    with redis.pipeline(transaction=True) as pipe:
        pipe.xack(STREAM, GROUP, *ids)
        pipe.xdel(STREAM, *ids)
        pipe.execute()
    return len(entries)


def _ensure_group(redis: Redis) -> None:
    try:
        redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as ex:
        if "BUSYGROUP" not in str(ex):
            raise


def _claim_or_read(
    redis: Redis, consumer: str, block_ms: int | None, max_entries: int
) -> list[tuple[bytes, Any]]:
    claimed: Any = redis.xautoclaim(STREAM, GROUP, consumer, CLAIM_AFTER_MS, count=max_entries)
    entries = [entry for entry in claimed[1] if entry[1]]
    if entries:
        return entries
    answer: Any = redis.xreadgroup(
        GROUP, consumer, {STREAM: ">"}, count=max_entries, block=block_ms
    )
    if not answer:
        return []
    streams = answer.items() if isinstance(answer, dict) else answer
    (_, read), *_ = streams
    return list(read)


def _decode(redis: Redis, entries: Iterable[tuple[bytes, Any]]) -> list[_Event]:
    events = []
    for entry_id, fields in entries:
        try:
            events.append(msgspec.json.decode(fields[b"e"], type=_Event))
        except (msgspec.MsgspecError, KeyError) as ex:
            log.error(
                "behaviour_set_aside",
                entry=entry_id.decode(),
                stream=DEAD_STREAM,
                error=repr(ex),
            )
            FOLDED.labels("undecodable").inc()
            redis.xadd(DEAD_STREAM, fields, maxlen=DEAD_BEHAVIOUR.most)
    return events


def _to_rows(events: Sequence[_Event], redis: Redis) -> list[dict[str, Any]]:
    """One row an article: an exposure stands for each article of its batch."""
    exposures = [event for event in events if event.action == Action.EXPOSURE]
    batches = find_batches(
        redis, [(event.reader_id, event.channel_id, event.stamp_ms) for event in exposures]
    )
    rows = [
        to_row(event.shown(), event.at_ms, event.read_ms)
        for event in events
        if event.action != Action.EXPOSURE
    ]
    for event, batch in zip(exposures, batches, strict=True):
        if batch is None:
            FOLDED.labels("batch_gone").inc()
            continue
        for position, article_id in enumerate(batch.article_ids):
            shown = replace(event.shown(), article_id=article_id, position=position)
            rows.append(to_row(shown, event.at_ms, event.read_ms))
    return list({row["event_id"]: row for row in rows}.values())


def to_row(shown: Shown, at_ms: int, read_ms: int | None) -> dict[str, Any]:
    """A row of the table `behaviour`."""
    return {
        "event_id": shown.event_id,
        "reader_id": shown.reader_id,
        "article_id": shown.article_id,
        "channel_id": shown.channel_id,
        "action": shown.action.label,
        "position": shown.position,
        "batch_stamp": shown.stamp_ms,
        "read_ms": read_ms,
        "at": moment(at_ms),
    }


def store_rows(conn: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Insert those rows that are not there yet and whose article exists, and count them; returns
    how many."""
    known: set[bytes] = set()
    existing: set[int] = set()
    for start in range(0, len(rows), 500):
        chunk = rows[start : start + 500]
        event_ids = [row["event_id"] for row in chunk]
        article_ids = {row["article_id"] for row in chunk}
        known.update(
            conn.scalars(select(behaviour.c.event_id).where(behaviour.c.event_id.in_(event_ids)))
        )
        existing.update(existing_ids(conn, article_ids))
    new = [row for row in rows if row["event_id"] not in known and row["article_id"] in existing]
    if new:
        conn.execute(insert(behaviour), new)
        _add_counts(conn, new)
        _touch_readers(conn, new)
    return len(new)


def _add_counts(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    added: dict[int, Counter[str]] = {}
    for row in rows:
        added.setdefault(row["article_id"], Counter())[row["action"]] += 1
    add_counts(conn, added)


def _touch_readers(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    seen_at: dict[int, list[datetime]] = {}
    for row in sorted(rows, key=lambda row: (row["reader_id"], row["at"])):
        seen_at.setdefault(row["reader_id"], []).append(row["at"])
    values = [
        {"id": id_, "first_seen_at": at[0], "last_seen_at": at[-1]} for id_, at in seen_at.items()
    ]
    mine = reader.c
    if conn.dialect.name == "sqlite":
        lite = sqlite.insert(reader)
        widest: dict[str, Any] = {
            "first_seen_at": func.min(mine.first_seen_at, lite.excluded.first_seen_at),
            "last_seen_at": func.max(mine.last_seen_at, lite.excluded.last_seen_at),
        }
        conn.execute(lite.on_conflict_do_update(index_elements=["id"], set_=widest), values)
    else:
        my = mysql.insert(reader)
        widest = {
            "first_seen_at": func.least(mine.first_seen_at, my.inserted.first_seen_at),
            "last_seen_at": func.greatest(mine.last_seen_at, my.inserted.last_seen_at),
        }
        conn.execute(my.on_duplicate_key_update(widest), values)
