"""The static jobs that look after what conversations and notices leave behind.

What is old goes a few hundred rows at a time, and a group that cannot be forgotten is left for the
next night, with a line in the log that names it. Rejected: a part of `prune`; one that fails would
keep the other from its work.

    STATIC_JOBS = (StaticJob("talk_prune", "10 4 * * *", prune_talk),)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from prometheus_client import Gauge
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from jobs.static.context import Routine, Run
from tidings.talk import outbox, retention

log = structlog.get_logger(__name__)


_OLDEST = Gauge(
    "tidings_talk_outbox_oldest_seconds",
    "How long the oldest event has waited to be told; alert above 60",
)


def watch_outbox(run: Run) -> str:
    """See how long what was stored waits for a node of the chat to tell it."""
    with run.context.engine.connect() as conn:
        oldest = outbox.find_oldest(conn)
    _OLDEST.set(0 if oldest is None else max((run.now - oldest).total_seconds(), 0))
    return Routine(
        "nothing waits" if oldest is None else f"the oldest event is of {oldest:%H:%M:%S}"
    )


def prune_talk(run: Run) -> str:
    """Delete old notices and reports, what was never told, and groups that all have left."""
    untold = _repeat(run, retention.prune_outbox)
    if untold:
        log.warning("talk_outbox_stuck", deleted=untold)
    notices = _repeat(run, retention.prune_notices)
    reports = _repeat(run, retention.prune_reports)
    groups = 0
    for conversation_id in retention.find_deserted(run.context.engine):
        if run.context.stopping.is_set():
            break
        groups += _forget(run, conversation_id)
    summary = f"{notices} notices, {reports} reports, {groups} groups and {untold} untold deleted"
    return summary if notices or reports or groups or untold else Routine(summary)


def _repeat(run: Run, prune: Callable[[Engine, datetime], int]) -> int:
    deleted = 0
    while not run.context.stopping.is_set():
        number = prune(run.context.engine, run.now)
        deleted += number
        if number < retention.CHUNK:
            break
    return deleted


def _forget(run: Run, conversation_id: int) -> int:
    try:
        while not run.context.stopping.is_set():
            left = retention.forget_deserted(run.context.engine, conversation_id)
            if left < retention.CHUNK:
                return 1
    except SQLAlchemyError as ex:
        log.warning("group_not_forgotten", conversation_id=conversation_id, error=str(ex))
    return 0
