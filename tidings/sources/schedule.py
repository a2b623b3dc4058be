"""When each source is asked again, and by which daemon.

A daemon that is about to ask a source claims it: the moment of its next look is moved behind the
end of a lease, if it is still the moment that was seen. So two daemons never ask one source at
once, and what a daemon left lying is due again. Rejected: a lock in the database, which is held for
a minute while a stranger's server drips.

    with transaction(engine) as conn:
        claimed = claim(conn, due, now)
"""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from tidings.sources.records import ACTIVE, FEED, GONE, LIST, Source, make_source
from tidings.sources.registry import find_by_address
from tidings.sources.tables import source, source_run

# Several times what a look takes, whose download has a minute: 50,000 entries were read in two on a
# busy machine. So only a daemon that has died is overtaken.
LEASE_S = 600
# No source is left alone for longer, whatever it asks for and however often it failed.
LONGEST_PAUSE_S = 86_400
# In a row, before an address is believed to have moved for good, and before operators are told.
TIMES_SAID = 3
MOST_PRUNED = 1000


def find_due(
    conn: Connection, now: datetime, *, limit: int, besides: Collection[str] = ()
) -> list[Source]:
    """Sources that should be asked now: those that failed last come last, so that they never keep
    the others waiting.

    Args:
        conn: to read by.
        now: by the database's clock.
        limit: the most there will be.
        besides: hosts, with their ports, whose sources are left out.
    """
    query = (
        select(source)
        .where(source.c.kind.in_((FEED, LIST)), source.c.state == ACTIVE, source.c.due_at <= now)
        .where(
            *(
                ~source.c.address.startswith(f"{scheme}://{host}/", autoescape=True)
                for scheme in ("http", "https")
                for host in besides
            )
        )
        .order_by(source.c.failures, source.c.due_at, source.c.id)
        .limit(limit)
    )
    return [make_source(row) for row in conn.execute(query)]


def claim(conn: Connection, due: Source, now: datetime) -> bool:
    """Make the next look at this source the caller's; False if another has it."""
    mine = conn.execute(
        update(source)
        .where(
            source.c.id == due.source_id, source.c.state == ACTIVE, source.c.due_at == due.due_at
        )
        .values(due_at=now + timedelta(seconds=LEASE_S))
    )
    return mine.rowcount == 1


def settle_success(
    conn: Connection,
    asked: Source,
    now: datetime,
    *,
    etag: str,
    last_modified: str,
    title: str,
    moved_to: str | None,
    retry_after_s: int | None,
) -> str | None:
    """Say when to ask again a source that answered; returns the address that it has moved to.

    An address that says three times in a row that it has moved for good is followed there, unless
    another source stands there.
    """
    values: dict[str, Any] = {
        "due_at": now + timedelta(seconds=_pause_s(asked.every_s, retry_after_s)),
        "failures": 0,
        "etag": etag[:512] or None,
        "last_modified": last_modified[:128] or None,
        "moved_to": moved_to,
        "moved_times": 0 if moved_to is None else 1,
    }
    if title and not asked.title:  # which an operator may have set
        values["title"] = title[:128]
    moved = None
    if moved_to is not None and moved_to == asked.moved_to:
        values["moved_times"] = asked.moved_times + 1
        if asked.moved_times + 1 >= TIMES_SAID and find_by_address(conn, moved_to) is None:
            moved = moved_to
            values |= {"address": moved_to, "moved_to": None, "moved_times": 0}
    _change(conn, asked, values)
    return moved


def settle_failure(
    conn: Connection, asked: Source, now: datetime, *, retry_after_s: int | None
) -> int:
    """Say when to ask again a source that failed; returns how often in a row it has."""
    failures = asked.failures + 1
    pause_s = min(asked.every_s * 2 ** min(failures, 16), LONGEST_PAUSE_S)
    due_at = now + timedelta(seconds=_pause_s(pause_s, retry_after_s))
    _change(conn, asked, {"due_at": due_at, "failures": min(failures, 32_767)})
    return failures


def settle_gone(conn: Connection, asked: Source) -> None:
    """The source says that it is no more, and is asked no more."""
    mine = update(source).where(source.c.id == asked.source_id, source.c.state == ACTIVE)
    conn.execute(mine.values(state=GONE))


def prune_runs(conn: Connection, before: datetime) -> int:
    """Delete up to MOST_PRUNED looks that are older; returns how many."""
    old = select(source_run.c.id).where(source_run.c.at < before)
    ids = list(conn.scalars(old.order_by(source_run.c.at).limit(MOST_PRUNED)))
    if ids:
        conn.execute(delete(source_run).where(source_run.c.id.in_(ids)))
    return len(ids)


def count_failing(conn: Connection) -> int:
    """How many sources failed as often in a row as operators are told of."""
    failing = select(func.count()).where(source.c.state == ACTIVE, source.c.failures >= TIMES_SAID)
    return conn.execute(failing).scalar_one()


def _pause_s(usual_s: float, retry_after_s: int | None) -> float:
    # A tenth more or less parts sources that were added together.
    pause_s = usual_s * random.uniform(0.9, 1.1)  # noqa: S311 - parts what would come together
    return min(max(pause_s, retry_after_s or 0), LONGEST_PAUSE_S)


def _change(conn: Connection, asked: Source, values: dict[str, Any]) -> None:
    """Not what an operator changed meanwhile: whether and how often it is asked."""
    conn.execute(update(source).where(source.c.id == asked.source_id).values(**values))
