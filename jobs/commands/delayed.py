"""`tidings jobs show|cancel|retry|dead|requeue|pause|resume|publish`: one delayed job, or one kind,
by hand.

An ID is the number that the other commands print, or KIND:REF such as `order_timeout:42`. Every
command is one conditional statement, so it can be used while daemons run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs.commands.printing import as_json, open_engine, show
from tidings.news import publishing
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.process.clock import now_ms
from tidings.process.settings import load_settings
from tidings.store.delayed_tables import delayed_job, paused_kind
from tidings.store.engine import database_now, transaction
from tidings.store.redis import make_redis


@click.command("show")
@click.argument("job_id", metavar="ID")
@as_json
def show_job(job_id: str, as_json: bool) -> None:
    """Everything about one delayed job."""
    with open_engine().connect() as conn:
        row = conn.execute(select(delayed_job).where(_named(job_id))).first()
    if row is None:
        raise click.ClickException(f"there is no job {job_id}; it may have been done")
    fields = dict(row._mapping)
    show(
        [fields] if as_json else [{"field": k, "value": v} for k, v in fields.items()],
        as_json=as_json,
    )


@click.command("dead")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@as_json
def list_dead(limit: int, as_json: bool) -> None:
    """Delayed jobs that failed for good and wait for somebody to look."""
    columns = ("id", "kind", "ref", "run_at", "attempts", "last_error")
    query = select(*(delayed_job.c[name] for name in columns)).where(delayed_job.c.state == "dead")
    with open_engine().connect() as conn:
        rows = [
            dict(row._mapping)
            for row in conn.execute(query.order_by(delayed_job.c.run_at).limit(limit))
        ]
    show(rows, as_json=as_json)


@click.command("cancel")
@click.argument("job_id", metavar="ID")
def cancel_job(job_id: str) -> None:
    """Delete a delayed job: what it was to do will not be done."""
    with transaction(open_engine()) as conn:
        _expect_one(conn.execute(delete(delayed_job).where(_named(job_id))).rowcount, job_id)
    click.echo(f"{job_id} cancelled")


@click.command("retry")
@click.argument("job_id", metavar="ID")
def retry_job(job_id: str) -> None:
    """Run a waiting or paused delayed job now rather than at its moment."""
    with transaction(open_engine()) as conn:
        alive = and_(_named(job_id), delayed_job.c.state != "dead")
        moved = conn.execute(
            update(delayed_job).where(alive).values(state="waiting", run_at=database_now(conn))
        )
        _expect_one(moved.rowcount, job_id)
    click.echo(f"{job_id} is due now")


@click.command("requeue")
@click.argument("job_id", metavar="ID")
def requeue_job(job_id: str) -> None:
    """Let a dead delayed job live again, with all its attempts before it."""
    with transaction(open_engine()) as conn:
        dead = and_(_named(job_id), delayed_job.c.state == "dead")
        fresh = {
            "state": "waiting",
            "attempts": 0,
            "last_error": None,
            "run_at": database_now(conn),
        }
        _expect_one(conn.execute(update(delayed_job).where(dead).values(fresh)).rowcount, job_id)
    click.echo(f"{job_id} is due now")


@click.command("pause")
@click.argument("kind")
def pause_kind(kind: str) -> None:
    """Hold back every delayed job of a kind, those yet to come included."""
    try:
        with transaction(open_engine()) as conn:
            conn.execute(insert(paused_kind).values(kind=kind, paused_at=database_now(conn)))
    except IntegrityError:
        click.echo(f"{kind} was paused already")
    else:
        click.echo(f"{kind} is paused; `tidings jobs resume {kind}` lets it run")


@click.command("resume")
@click.argument("kind")
def resume_kind(kind: str) -> None:
    """Let a paused kind run again."""
    with transaction(open_engine()) as conn:
        gone = conn.execute(delete(paused_kind).where(paused_kind.c.kind == kind))
    click.echo(f"{kind} runs again" if gone.rowcount else f"{kind} was not paused")


@click.command("publish")
@click.argument("article_id", type=int)
@click.option(
    "--at", "moment", required=True, help="ISO 8601; UTC unless it says otherwise: 2026-11-23T18:00"
)
def publish_article(article_id: int, moment: str) -> None:
    """Hide an article until an hour, and publish it then."""
    try:
        run_at = datetime.fromisoformat(moment)
    except ValueError:
        raise click.BadParameter(f"{moment!r} is not a moment such as 2026-11-23T18:00") from None
    run_at = run_at if run_at.tzinfo else run_at.replace(tzinfo=UTC)
    settings = load_settings()
    engine = open_engine()
    articles = Articles(
        engine, make_redis(settings.redis), card_ttl_s=settings.gateway.card_ttl_s, clock=now_ms
    )
    try:
        with transaction(engine) as conn:
            publishing.schedule_publication(conn, article_id, run_at, articles)
    except ArticleNotFoundError as ex:
        raise click.ClickException(str(ex)) from None
    click.echo(f"article {article_id} appears at {run_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z")


COMMANDS: Sequence[click.Command] = (
    show_job,
    list_dead,
    cancel_job,
    retry_job,
    requeue_job,
    pause_kind,
    resume_kind,
    publish_article,
)


def summarise_delayed(conn: Connection) -> list[dict[str, Any]]:
    """One row a kind: how many wait, are paused or dead, and since when the oldest is due."""
    counts = {
        state: func.sum(case((delayed_job.c.state == state, 1), else_=0))
        for state in ("waiting", "paused", "dead")
    }
    first = func.min(case((delayed_job.c.state == "waiting", delayed_job.c.run_at)))
    query = select(delayed_job.c.kind, *counts.values(), first).group_by(delayed_job.c.kind)
    held = set(conn.scalars(select(paused_kind.c.kind)))
    return [
        {
            "kind": kind,
            **{state: int(n) for state, n in zip(counts, numbers[:-1], strict=True)},
            "next": numbers[-1],
            "held": "paused" if kind in held else None,
        }
        for kind, *numbers in conn.execute(query.order_by(delayed_job.c.kind))
    ]


def next_delayed(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """The delayed jobs that are due soonest."""
    query = (
        select(delayed_job.c.run_at, delayed_job.c.kind, delayed_job.c.ref)
        .where(delayed_job.c.state == "waiting")
        .order_by(delayed_job.c.run_at)
        .limit(limit)
    )
    return [{"next": row.run_at, "job": f"{row.kind}:{row.ref}"} for row in conn.execute(query)]


def _named(job_id: str) -> ColumnElement[bool]:
    if job_id.isascii() and job_id.isdigit():
        return delayed_job.c.id == int(job_id)
    kind, colon, ref = job_id.partition(":")
    if not colon:
        raise click.UsageError(f"{job_id!r} is no job; an ID is a number or KIND:REF")
    return and_(delayed_job.c.kind == kind, delayed_job.c.ref == ref)


def _expect_one(rowcount: int, job_id: str) -> None:
    if rowcount == 0:
        raise click.ClickException(
            f"there is no such job {job_id} in the right state; `tidings jobs show {job_id}`"
        )
