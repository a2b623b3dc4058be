"""`tidings jobs …`: what is to run, what ran, and the same jobs by hand or from a crontab.

Exit codes are for crontab's sake: 0 done or already done, 1 failed, 2 no such job, 75 (EX_TEMPFAIL)
being run elsewhere at this moment.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

import click
from sqlalchemy import Connection, Engine, select

from jobs.commands.delayed import COMMANDS, next_delayed, summarise_delayed
from jobs.static.context import Context, make_owner_name
from jobs.static.runs import Outcome, Ran, StaticJob, find_due, read_now, run_slot
from jobs.static.slots import newest_slot
from jobs.table import STATIC_JOBS
from jobs.tables import job_run
from tidings.commands.printing import json_option, print_json, print_rows
from tidings.process.settings import load_settings
from tidings.store.opening import open_database
from tidings.store.redis import make_redis

EXIT_CODES = {Outcome.DONE: 0, Outcome.ALREADY: 0, Outcome.FAILED: 1, Outcome.BUSY: os.EX_TEMPFAIL}


@click.group()
def jobs() -> None:
    """Scheduled work: what is to run, what ran, and running it by hand."""


for command in COMMANDS:
    jobs.add_command(command)


@jobs.command("list")
@json_option
def list_jobs(*, as_json: bool) -> None:
    """The static jobs and how their last run ended; and how many delayed jobs of each kind wait."""
    with open_database(load_settings()).connect() as conn:
        now = read_now(conn)
        rows = [_describe(conn, job, now) for job in STATIC_JOBS]
        delayed = summarise_delayed(conn)
    if as_json:
        print_json({"type": "static", **row} for row in rows)
        print_json({"type": "delayed", **row} for row in delayed)
        return
    print_rows(rows, as_json=False)
    if delayed:
        print_rows(delayed, as_json=False)


@jobs.command("next")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def next_jobs(limit: int, *, as_json: bool) -> None:
    """What runs next, static and delayed, soonest first."""
    with open_database(load_settings()).connect() as conn:
        now = read_now(conn)
        rows = next_delayed(conn, limit)
    rows += [
        {"next": job.trigger.get_next_fire_time(None, now), "job": job.name} for job in STATIC_JOBS
    ]
    print_rows(sorted(rows, key=lambda row: row["next"])[:limit], as_json=as_json)


@jobs.command("run")
@click.argument("name")
@click.option("--again", is_flag=True, help="Run it now even if its latest moment has been run.")
def run_job(name: str, again: bool) -> None:
    """Run one static job here and now, unless its latest moment has been run already."""
    job = find_job(name)
    settings = load_settings()
    engine = open_database(settings)
    context = Context(engine, make_redis(settings.redis), settings, owner=make_owner_name())
    slots = find_due(engine, job, context.owner) or [_latest_slot(engine, job)]
    if again:
        with engine.connect() as conn:
            slots = [read_now(conn)]
    ran = [run_slot(job, slot, context) for slot in slots]
    for one in ran:
        click.echo(f"{job.name} {one.slot:%Y-%m-%d %H:%M:%S}Z: {one.outcome.value}{_detail(one)}")
    sys.exit(max(EXIT_CODES[one.outcome] for one in ran))


@jobs.command()
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def history(name: str | None, limit: int, *, as_json: bool) -> None:
    """The latest runs of static jobs, newest first."""
    query = select(job_run).order_by(job_run.c.started_at.desc()).limit(limit)
    if name is not None:
        query = query.where(job_run.c.job == find_job(name).name)
    with open_database(load_settings()).connect() as conn:
        runs = conn.execute(query).all()
    rows = [
        {
            "job": run.job,
            "slot": run.slot,
            "state": run.state,
            "attempt": run.attempt,
            "started": run.started_at,
            "seconds": round((run.done_at - run.started_at).total_seconds(), 3)
            if run.done_at
            else None,
            "owner": run.owner,
            "result": run.error or run.summary,
        }
        for run in runs
    ]
    print_rows(rows, as_json=as_json)


def find_job(name: str) -> StaticJob:
    """The static job of this name.

    Raises:
        UsageError: there is none; exit code 2.
    """
    for job in STATIC_JOBS:
        if job.name == name:
            return job
    raise click.UsageError(
        f"there is no job {name!r}; there are {', '.join(job.name for job in STATIC_JOBS)}"
    )


def _describe(conn: Connection, job: StaticJob, now: datetime) -> dict[str, Any]:
    last = conn.execute(
        select(job_run.c.slot, job_run.c.state)
        .where(job_run.c.job == job.name)
        .order_by(job_run.c.slot.desc())
        .limit(1)
    ).first()
    return {
        "job": job.name,
        "cron": job.cron,
        "next": job.trigger.get_next_fire_time(None, now),
        "last": last.slot if last else None,
        "ended": last.state if last else None,
        "about": (job.work.__doc__ or "").partition("\n")[0],
    }


def _detail(ran: Ran) -> str:
    return f" ({ran.detail})" if ran.detail else ""


def _latest_slot(engine: Engine, job: StaticJob) -> datetime:
    with engine.connect() as conn:
        now = read_now(conn)
    return newest_slot(job.trigger, now) or now
