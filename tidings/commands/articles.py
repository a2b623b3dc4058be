"""`tidings articles`: what stands on the site, and who may see it, from the shell.

Each command is one transaction, so it can be used while the site runs: what is taken down is gone
at once for readers who open it, and within seconds from every feed. `publish --at` leaves the hour
to a delayed job, which `tidings jobs next` lists.

    tidings articles take-down 42
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click
from sqlalchemy import Connection, Engine

from tidings.commands.printing import ID, json_option, print_rows
from tidings.news import publishing
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.channels import FOR_YOU, read_channels
from tidings.news.listing import find_articles, has_articles, read_record
from tidings.news.visibility import STATUSES
from tidings.process.clock import now_ms
from tidings.process.settings import Settings, load_settings
from tidings.store.engine import transaction
from tidings.store.opening import open_database
from tidings.store.redis import make_redis

HOW_TO_FILL = (
    "there are no articles yet: `tidings import articles FILE` brings in a file or a feed, "
    "`tidings demo load` an example"
)
_ID = click.argument("article_id", metavar="ID", type=ID)


@click.group()
def articles() -> None:
    """List articles, and decide which of them readers see."""


@articles.command("list")
@click.option("--channel", help="Only those of one channel: its number or its slug.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those of one status.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def list_articles(channel: str | None, status: str | None, limit: int, *, as_json: bool) -> None:
    """Print the newest articles, whether readers see them or not."""
    with open_database(load_settings()).connect() as conn:
        channel_id = FOR_YOU.channel_id if channel is None else _find_channel(conn, channel)
        found = find_articles(conn, limit=limit, channel_id=channel_id, status=status).lines
    if found or as_json:
        print_rows([row._asdict() for row in found], as_json=as_json)
    elif channel is None and status is None:
        click.echo(HOW_TO_FILL)
    else:
        click.echo("there are no such articles")


@articles.command("show")
@_ID
@json_option
def show_article(article_id: int, *, as_json: bool) -> None:
    """Print everything that is stored of one article."""
    with open_database(load_settings()).connect() as conn, _one_line():
        fields = read_record(conn, article_id)._asdict()
    fields |= {f"{name}_count": number for name, number in fields.pop("counts").items()}
    rows = [fields] if as_json else [{"field": k, "value": v} for k, v in fields.items()]
    print_rows(rows, as_json=as_json)


@articles.command()
@_ID
@click.option("--at", "moment", help="ISO 8601; UTC unless it says otherwise: 2026-11-23T18:00")
def publish(article_id: int, moment: str | None) -> None:
    """Show an article: now, or hidden until an hour and shown then."""
    if moment is not None:
        schedule(article_id, moment)
        return
    with _changing() as (conn, stored):
        is_new = publishing.publish(conn, article_id, stored)
    click.echo(f"article {article_id} is published" + ("" if is_new else " already"))


@articles.command("take-down")
@_ID
def take_down(article_id: int) -> None:
    """Show an article nowhere any more. `restore` brings it back."""
    with _changing() as (conn, stored):
        publishing.take_down(conn, article_id, stored)
    click.echo(f"article {article_id} is taken down")


@articles.command()
@_ID
def restore(article_id: int) -> None:
    """Show an article again that was taken down."""
    with _changing() as (conn, stored):
        was_down = publishing.restore(conn, article_id, stored)
        published_at = read_record(conn, article_id).published_at
    if not was_down:
        click.echo(f"article {article_id} was not taken down")
    elif published_at is not None and published_at > datetime.now(UTC):
        click.echo(f"article {article_id} is restored and appears at {_show(published_at)}")
    else:
        click.echo(f"article {article_id} is restored")


def say_if_empty(settings: Settings) -> None:
    """Print how to fill a site that has no articles; nothing for any other."""
    with open_database(settings).connect() as conn:
        if not has_articles(conn):
            click.echo(HOW_TO_FILL)


def schedule(article_id: int, moment: str) -> None:
    """Hide an article until a moment and say so; also `tidings jobs publish`.

    Raises:
        ClickException: there is no such article, or it is no moment.
    """
    try:
        run_at = datetime.fromisoformat(moment)
        run_at = (run_at if run_at.tzinfo else run_at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.ClickException(f"{moment!r} is not a moment such as 2026-11-23T18:00") from None
    if run_at <= datetime.now(UTC):
        raise click.ClickException(
            f"{_show(run_at)} is past; without --at the article is published now"
        )
    with _changing() as (conn, stored):
        publishing.schedule_publication(conn, article_id, run_at, stored)
    click.echo(f"article {article_id} appears at {_show(run_at)}")


def _show(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


@contextmanager
def open_articles(settings: Settings) -> Iterator[tuple[Engine, Articles]]:
    """The database, and the articles with their caches; if those miss a change, that is said in
    one line."""
    engine = open_database(settings)
    redis = make_redis(settings.redis)
    ttl_s = settings.gateway.card_ttl_s
    stale: list[int] = []
    stored = Articles(
        engine,
        redis,
        card_ttl_s=ttl_s,
        clock=now_ms,
        on_stale=lambda ids, _: stale.extend(ids),
    )
    try:
        yield engine, stored
    finally:
        redis.close()
        engine.dispose()
        if stale:
            click.echo(
                f"Redis does not answer: readers may see what changed as it was for {ttl_s} s",
                err=True,
            )


@contextmanager
def _changing() -> Iterator[tuple[Connection, Articles]]:
    """A transaction for one change."""
    with (
        open_articles(load_settings()) as (engine, stored),
        _one_line(),
        transaction(engine) as conn,
    ):
        yield conn, stored


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except ArticleNotFoundError as ex:
        raise click.ClickException(str(ex)) from None


def _find_channel(conn: Connection, named: str) -> int:
    for known in (FOR_YOU, *read_channels(conn)):
        if named in (known.slug, str(known.channel_id)):
            return known.channel_id
    raise click.ClickException(f"there is no channel {named!r}; `tidings channels list`")
