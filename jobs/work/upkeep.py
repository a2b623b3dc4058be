"""Static jobs that keep counters right and forget what is old.

Each works in short transactions, a few hundred rows at a time, so that no reader waits for them.

    STATIC_JOBS = (StaticJob("recount", "40 3 * * *", recount),)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client import Counter
from sqlalchemy import Connection, delete, func, select

from jobs.static.context import Routine, Run
from jobs.tables import job_run
from tidings.editing import audit
from tidings.reading import converting, recounting
from tidings.shop import callbacks
from tidings.sources import schedule
from tidings.store.engine import transaction

_CORRECTED = Counter("tidings_counters_corrected", "Article counters that were wrong")


def recount(run: Run) -> str:
    """Count the behaviours of recent articles anew, and correct counters that differ."""
    context = run.context
    # Older articles have behaviours that were pruned; theirs cannot be counted any more.
    since = run.now - timedelta(days=context.settings.jobs.keep_days - 1)
    corrected = recounting.recount(context.engine, since, context.stopping.is_set)
    _CORRECTED.inc(corrected)
    summary = f"{corrected} articles corrected"
    return summary if corrected else Routine(summary)


def convert_behaviours(run: Run) -> str:
    """Bring behaviours that programs of the release before stored into the form of today."""
    rows = converting.convert(run.context.engine, run.context.stopping.is_set)
    summary = f"{rows} rows converted"
    return summary if rows else Routine(summary)


def prune(run: Run) -> str:
    """Delete behaviours, payment callbacks, looks at sources, and the history of jobs and of what
    was changed that are older than JOBS_KEEP_DAYS."""
    before = run.now - timedelta(days=run.context.settings.jobs.keep_days)
    newest = (
        select(func.max(job_run.c.slot).label("slot"), job_run.c.job)
        .group_by(job_run.c.job)
        .subquery()
    )
    with run.context.engine.connect() as conn:
        # The last run of each job says what has been missed; it stays, however old.
        keep = {row.job: row.slot for row in conn.execute(select(newest.c.job, newest.c.slot))}
    with transaction(run.context.engine) as conn:
        runs = 0
        for name, slot in keep.items():
            old = (job_run.c.job == name, job_run.c.slot < min(before, slot))
            runs += conn.execute(delete(job_run).where(*old)).rowcount
    acts = recounting.prune(run.context.engine, before, run.context.stopping.is_set)
    words = _sweep(run, callbacks.sweep, before, most=callbacks.MOST_SWEPT)
    looks = _sweep(run, schedule.prune_runs, before, most=schedule.MOST_PRUNED)
    changes = _sweep(run, audit.prune, before, most=audit.MOST_PRUNED)
    summary = (
        f"{acts} behaviours, {words} payment callbacks, {looks} looks at sources, {changes} "
        f"entries of the audit log and {runs} runs deleted"
    )
    return summary if acts or words or looks or changes or runs else Routine(summary)


def _sweep(
    run: Run, sweep: Callable[[Connection, datetime], int], before: datetime, *, most: int
) -> int:
    """Call `sweep`, which deletes up to `most` rows, until there are none left."""
    swept = 0
    while not run.context.stopping.is_set():
        with transaction(run.context.engine) as conn:
            number = sweep(conn, before)
        swept += number
        if number < most:
            break
    return swept
