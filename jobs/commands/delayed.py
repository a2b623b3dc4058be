"""`tidings jobs show|cancel|retry|dead|requeue|pause|resume|publish`: one delayed job, or one kind,
by hand.

An ID is the number that the other commands print, or KIND:REF such as `order_timeout:42`. Every
command is one conditional statement, so it can be used while daemons run.

    tidings jobs retry order_timeout:42
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from sqlalchemy import Connection

from jobs.handlers import KINDS
from tidings.commands.articles import schedule
from tidings.commands.printing import ID, json_option, print_rows
from tidings.process.settings import load_settings
from tidings.store import delayed_rows
from tidings.store.delayed_rows import JobName
from tidings.store.engine import transaction
from tidings.store.opening import open_database


def _read_id(ctx: click.Context, param: click.Parameter, value: str) -> JobName:
    try:
        name = delayed_rows.parse_name(value)
    except ValueError as ex:
        raise click.BadParameter(str(ex)) from None
    return ID.convert(name, param, ctx) if isinstance(name, int) else name


job_argument = click.argument("job", metavar="ID", callback=_read_id)


@click.command("show")
@job_argument
@json_option
def show_job(job: JobName, *, as_json: bool) -> None:
    """Everything about one delayed job."""
    with open_database(load_settings()).connect() as conn:
        row = delayed_rows.find(conn, job)
    if row is None:
        raise click.ClickException(f"there is no job {_text(job)}; it may have been done")
    fields = asdict(row)
    rows = [fields] if as_json else [{"field": k, "value": v} for k, v in fields.items()]
    print_rows(rows, as_json=as_json)


@click.command("dead")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def list_dead(limit: int, *, as_json: bool) -> None:
    """Delayed jobs that failed for good and wait for an operator."""
    with open_database(load_settings()).connect() as conn:
        dead = delayed_rows.find_soonest(conn, limit=limit, state="dead")
    columns = ("id", "kind", "ref", "run_at", "attempts", "last_error")
    print_rows([{name: getattr(row, name) for name in columns} for row in dead], as_json=as_json)


@click.command("cancel")
@job_argument
def cancel_job(job: JobName) -> None:
    """Delete a delayed job: what it was to do will not be done."""
    with transaction(open_database(load_settings())) as conn:
        _expect(delayed_rows.remove(conn, job), job)
    click.echo(f"{_text(job)} cancelled")


@click.command("retry")
@job_argument
def retry_job(job: JobName) -> None:
    """Run a waiting or paused delayed job now rather than at its moment."""
    with transaction(open_database(load_settings())) as conn:
        _expect(delayed_rows.run_at_once(conn, job), job)
    click.echo(f"{_text(job)} is due now")


@click.command("requeue")
@job_argument
def requeue_job(job: JobName) -> None:
    """Let a dead delayed job live again, with all its attempts before it."""
    with transaction(open_database(load_settings())) as conn:
        _expect(delayed_rows.revive(conn, job), job)
    click.echo(f"{_text(job)} is due now")


@click.command("pause")
@click.argument("kind")
def pause_kind(kind: str) -> None:
    """Hold back every delayed job of a kind, those yet to come included."""
    with transaction(open_database(load_settings())) as conn:
        _expect_kind(conn, kind)
        is_new = delayed_rows.pause_kind(conn, kind)
    click.echo(
        f"{kind} is paused; `tidings jobs resume {kind}` lets it run"
        if is_new
        else f"{kind} was paused already"
    )


@click.command("resume")
@click.argument("kind")
def resume_kind(kind: str) -> None:
    """Let a paused kind run again."""
    with transaction(open_database(load_settings())) as conn:
        _expect_kind(conn, kind)
        was_held = delayed_rows.resume_kind(conn, kind)
    click.echo(f"{kind} runs again" if was_held else f"{kind} was not paused")


@click.command("publish")
@click.argument("article_id", metavar="ID", type=ID)
@click.option(
    "--at", "moment", required=True, help="ISO 8601; UTC unless it says otherwise: 2026-11-23T18:00"
)
def publish_article(article_id: int, moment: str) -> None:
    """Hide an article until an hour, and publish it then: `tidings articles publish ID --at`."""
    schedule(article_id, moment)


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
    return [
        {
            "kind": kind.kind,
            "waiting": kind.waiting,
            "paused": kind.paused,
            "dead": kind.dead,
            "next": kind.next,
            "held": "paused" if kind.is_held else None,
        }
        for kind in delayed_rows.summarise(conn)
    ]


def next_delayed(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """The delayed jobs that are due soonest; those of a paused kind are not due at all."""
    waiting = delayed_rows.find_next(conn, limit=limit)
    return [{"next": job.run_at, "job": f"{job.kind}:{job.ref}"} for job in waiting]


def _expect_kind(conn: Connection, kind: str) -> None:
    """A kind that no handler and no row knows is a slip of the keyboard."""
    kinds = {*KINDS} | delayed_rows.find_kinds(conn)
    if kind not in kinds:
        raise click.UsageError(f"there is no kind {kind!r}; there are {', '.join(sorted(kinds))}")


def _expect(is_changed: bool, job: JobName) -> None:
    if not is_changed:
        raise click.ClickException(
            f"there is no job {_text(job)} to which this can be done; "
            f"`tidings jobs show {_text(job)}` shows its state, if it is there"
        )


def _text(job: JobName) -> str:
    return str(job) if isinstance(job, int) else f"{job.kind}:{job.ref}"
