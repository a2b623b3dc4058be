"""The audit log: who changed what, as it was before and as it is since.

An entry is written in the transaction of the change itself, so neither exists without the other: a
log that cannot be written stops the change. Entries are never changed, and deleted only by age.
Rejected: the log files, which a full disk or a restart loses, and which nobody can ask for one
article.

    note(conn, "shell:ada", "take_down", "article", 42, before={"status": "published"},
         after={"status": "taken_down"})
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, delete, insert, select

from tidings.editing.tables import audit
from tidings.store.engine import database_now

MOST_ACTOR = 128
# What is deleted in one transaction, for which others wait.
MOST_PRUNED = 1000


class Entry(NamedTuple):
    """What was done. `before` and `after` have the fields that it changed."""

    entry_id: int
    at: datetime
    actor: str
    reader_id: int | None
    verb: str
    noun: str
    noun_id: int | None
    before: dict[str, object] | None
    after: dict[str, object] | None
    request_id: str | None


def note(
    conn: Connection,
    actor: str,
    verb: str,
    noun: str,
    noun_id: int | None,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    reader_id: int | None = None,
) -> None:
    """Enter a change, in its own transaction.

    Args:
        actor: `key:NAME`, `shell:USER` or `job:NAME`.
        noun: article, channel, source, image or demo.
        before: what was changed, as it was; None for what is new.
        after: the same as it is since; None for what is gone.
        reader_id: as whom a key reads and writes.
    """
    conn.execute(
        insert(audit).values(
            at=database_now(conn),
            actor=actor,
            reader_id=reader_id,
            verb=verb,
            noun=noun,
            noun_id=noun_id,
            before=_encode(before),
            after=_encode(after),
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
        )
    )


def find_changes(
    old: Mapping[str, object], new: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Of fields as they were and as they are, those that differ: what an entry tells."""
    changed = [name for name in new if old[name] != new[name]]
    return {name: old[name] for name in changed}, {name: new[name] for name in changed}


def find_entries(
    conn: Connection,
    *,
    limit: int,
    nouns: Collection[str] | None = None,
    noun_id: int | None = None,
    actor: str | None = None,
    verb: str | None = None,
    before_id: int | None = None,
) -> list[Entry]:
    """The newest entries first.

    Args:
        limit: how many at most.
        nouns: about these only; None is any.
        noun_id: about the one of this number, which only one noun makes unambiguous.
        actor: by this one only.
        verb: of this one only.
        before_id: after this one in the list: the last `entry_id` of the page before.
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if nouns is not None:
        query = query.where(audit.c.noun.in_(sorted(nouns)))
    if noun_id is not None:
        query = query.where(audit.c.noun_id == noun_id)
    if actor is not None:
        query = query.where(audit.c.actor == actor)
    if verb is not None:
        query = query.where(audit.c.verb == verb)
    if before_id is not None:
        query = query.where(audit.c.id < before_id)
    return [
        Entry(
            entry_id=row.id,
            at=row.at,
            actor=row.actor,
            reader_id=row.reader_id,
            verb=row.verb,
            noun=row.noun,
            noun_id=row.noun_id,
            before=_decode(row.before),
            after=_decode(row.after),
            request_id=row.request_id,
        )
        for row in conn.execute(query)
    ]


def prune(conn: Connection, before: datetime) -> int:
    """Delete up to MOST_PRUNED entries that are older; returns how many."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(MOST_PRUNED)
    ids = list(conn.scalars(old))
    if ids:
        conn.execute(delete(audit).where(audit.c.id.in_(ids)))
    return len(ids)


def _encode(fields: Mapping[str, object] | None) -> str | None:
    return None if fields is None else msgspec.json.encode(dict(fields)).decode()


def _decode(text: str | None) -> dict[str, object] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, object])
