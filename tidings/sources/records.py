"""Sources as they stand in the database: who delivers articles, how each is doing, and what came of
the last looks.

A source that was removed keeps its row and is shown nowhere: its number says to whom articles
belong, and a number that was given again would hand them to another. Rejected: deleting the row.

    with engine.connect() as conn:
        read_source(conn, 3).address
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select

from tidings.sources.tables import source, source_run

FILE, EDITOR, KEY, FEED, LIST = "file", "editor", "key", "feed", "list"
# Asked when it is due · not asked, as an operator says · in no list of what to ask, since it was
# brought in once or has left its list · says itself that it is no more · removed by an operator.
ACTIVE, PAUSED, UNLISTED, GONE, REMOVED = "active", "paused", "unlisted", "gone", "removed"
STATES = (ACTIVE, PAUSED, UNLISTED, GONE)


class SourceNotFoundError(Exception):
    """There is no such source."""

    def __init__(self, source_id: int) -> None:
        super().__init__(f"there is no source {source_id}")
        self.source_id = source_id


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Who delivers articles.

    Attributes:
        kind: file, editor, key, feed, or list: an OPML address that names feeds.
        name: what identifies it; of a feed, the address under which it was added, or its SHA-256.
        address: where a feed or list is asked now.
        title: its own name.
        channel_id: where its articles stand; None until the first have come.
        state: one of `STATES`.
        every_s: from one look to the next.
        due_at: of the next look.
        failures: in a row.
        moved_to: where it said lately that it stands for good.
        moved_times: how often in a row it said so.
    """

    source_id: int
    kind: str
    name: str
    address: str | None
    title: str
    channel_id: int | None
    added_by: str
    state: str
    every_s: int
    due_at: datetime | None
    etag: str | None
    last_modified: str | None
    failures: int
    moved_to: str | None
    moved_times: int
    created_at: datetime


class SourceRun(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a source: what came of it, the articles and rows by what became of them, why it
    failed, and why the first rows were refused."""

    run_id: int
    source_id: int
    at: datetime
    outcome: str
    took_ms: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    error: str | None = None
    reasons: tuple[str, ...] = ()


def read_source(conn: Connection, source_id: int, *, lock: bool = False) -> Source:
    """One source, with its row locked until the transaction ends if the caller is to change it.

    Raises:
        SourceNotFoundError: there is none of this id, or it was removed.
    """
    query = select(source).where(source.c.id == source_id, source.c.state != REMOVED)
    row = conn.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise SourceNotFoundError(source_id)
    return make_source(row)


def find_sources(
    conn: Connection, *, limit: int, after: int = 0, state: str | None = None
) -> list[Source]:
    """Sources in the order of their ids, those beyond `after`; of one state, or of any."""
    query = select(source).where(source.c.id > after, source.c.state != REMOVED)
    if state is not None:
        query = query.where(source.c.state == state)
    return [make_source(row) for row in conn.execute(query.order_by(source.c.id).limit(limit))]


def find_runs(
    conn: Connection, source_id: int, *, limit: int, before: int | None = None
) -> list[SourceRun]:
    """The last looks at a source, newest first, those before the run `before`."""
    query = select(source_run).where(source_run.c.source_id == source_id)
    if before is not None:
        query = query.where(source_run.c.id < before)
    rows = conn.execute(query.order_by(source_run.c.id.desc()).limit(limit))
    return [
        SourceRun(
            run_id=row.id,
            source_id=row.source_id,
            at=row.at,
            outcome=row.outcome,
            took_ms=row.took_ms,
            created=row.created,
            updated=row.updated,
            unchanged=row.unchanged,
            refused=row.refused,
            error=row.error,
            reasons=tuple(msgspec.json.decode(row.reasons)) if row.reasons else (),
        )
        for row in rows
    ]


def add_run(conn: Connection, run: SourceRun) -> None:
    """Write down one look; its `run_id` is the database's to give."""
    values = msgspec.structs.asdict(run)
    del values["run_id"]
    values["reasons"] = msgspec.json.encode(run.reasons).decode() if run.reasons else None
    conn.execute(insert(source_run).values(values))


def make_source(row: Row[Any]) -> Source:
    """A row of the table as a source."""
    fields = [name for name in Source.__struct_fields__ if name != "source_id"]
    return Source(source_id=row.id, **{name: getattr(row, name) for name in fields})
