"""When a static job was due: pure arithmetic on cron triggers.

APScheduler's triggers only look forward, and its memory store forgets what was missed while no
daemon ran. Here the question is asked backwards, from the history in `job_run` and the database's
clock, so the answer is the same for every daemon, also for one with a wrong clock.

    due_slots(make_trigger("20 3 * * *"), "once", last=None, now=now)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from apscheduler.triggers.cron import CronTrigger

Missed = Literal["once", "all", "skip"]

MOST_MISSED = 24
SKIP_AFTER_S = 60
_LOOKBACKS = tuple(
    timedelta(minutes=n) for n in (2, 120, 2 * 1440, 8 * 1440, 32 * 1440, 367 * 1440)
)


def make_trigger(cron: str) -> CronTrigger:
    """A five-field crontab expression in UTC.

    Raises:
        ValueError: the expression is not one.
    """
    return CronTrigger.from_crontab(cron, timezone=UTC)


def slots_between(trigger: CronTrigger, after: datetime, until: datetime) -> Iterator[datetime]:
    """The trigger's moments in (after, until], oldest first."""
    moment = after
    while True:
        fire = trigger.get_next_fire_time(None, moment + timedelta(microseconds=1))
        if fire is None or fire > until:
            return
        yield fire
        moment = fire


def newest_slot(trigger: CronTrigger, now: datetime) -> datetime | None:
    """The last moment at or before `now`; None if there was none in a year."""
    for lookback in _LOOKBACKS:
        newest = None
        for newest in slots_between(trigger, now - lookback, now):  # noqa: B007 - the last one is the answer
            pass
        if newest is not None:
            return newest
    return None


def due_slots(
    trigger: CronTrigger, missed: Missed, last: datetime | None, now: datetime
) -> list[datetime]:
    """The slots to run now, oldest first, given the newest slot in the history.

    `once` makes good with one run however many were missed; `all` runs each of the last
    MOST_MISSED; `skip` runs a slot within a minute of its time or not at all. With no history only
    the newest slot counts.
    """
    newest = newest_slot(trigger, now)
    if newest is None or (last is not None and newest <= last):
        return []
    if missed == "skip" and now - newest > timedelta(seconds=SKIP_AFTER_S):
        return []
    if missed != "all" or last is None:
        return [newest]
    return _last_slots(trigger, last, newest)


def _last_slots(trigger: CronTrigger, last: datetime, newest: datetime) -> list[datetime]:
    for lookback in _LOOKBACKS:
        found = list(slots_between(trigger, max(last, newest - lookback), newest))
        if len(found) >= MOST_MISSED or newest - lookback <= last:
            return found[-MOST_MISSED:]
    return [newest]
