"""`tidings articles`: what stands on the site, and who may see it, from the shell.

Each command is one transaction, so it can be used while the site runs: what is taken down is gone
at once for readers who open it, and within seconds from every feed. Each change is in the audit
log under the user of the shell. `publish --at` leaves the hour to a delayed job, which
`tidings jobs next` lists.

    tidings articles take-down 42
"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tidings.commands import writing
from tidings.commands.changing import change, find_channel, one_line
from tidings.commands.printing import ID, json_option, print_rows
from tidings.editing import articles as editing
from tidings.editing.acting import Act, shell_actor
from tidings.editing.fields import Fields
from tidings.editing.records import digest, find_articles, read_article
from tidings.news.channels import FOR_YOU
from tidings.news.listing import Record, has_articles
from tidings.news.visibility import STATUSES
from tidings.process.settings import Settings, load_settings
from tidings.store.opening import open_database

HOW_TO_FILL = (
    "there are no articles yet: `tidings import articles FILE` brings in a file or a feed, "
    "`tidings demo load` an example"
)
_ID = click.argument("article_id", metavar="ID", type=ID)


@click.group()
def articles() -> None:
    """Write articles, list them, and decide which of them readers see."""


articles.add_command(writing.create)
articles.add_command(writing.edit)
articles.add_command(writing.preview)


@articles.command("list")
@click.option("--channel", help="Only those of one channel: its number or its slug.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those of one status.")
@click.option("--source", "origin_id", type=ID, help="Only those of one source.")
@click.option("--author", help="Only those by one author.")
@click.option("--text", help="Only those with this in their title or summary.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def list_articles(
    channel: str | None,
    status: str | None,
    origin_id: int | None,
    author: str | None,
    text: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print the newest articles, whether readers see them or not."""
    with open_database(load_settings()).connect() as conn:
        found = find_articles(
            conn,
            shell_actor(),
            limit=limit,
            channel_id=FOR_YOU.channel_id if channel is None else find_channel(conn, channel),
            status=status,
            origin_id=origin_id,
            by=author,
            text=text,
        ).lines
    if found or as_json:
        print_rows([row._asdict() for row in found], as_json=as_json)
    elif (channel, status, origin_id, author, text) == (None,) * 5:
        click.echo(HOW_TO_FILL)
    else:
        click.echo("there are no such articles")


@articles.command("show")
@_ID
@json_option
def show_article(article_id: int, *, as_json: bool) -> None:
    """Print everything that is stored of one article."""
    with open_database(load_settings()).connect() as conn, one_line():
        fields = read_article(conn, shell_actor(), article_id)._asdict()
    fields |= {f"{name}_count": number for name, number in fields.pop("counts").items()}
    rows = [fields] if as_json else [{"field": k, "value": v} for k, v in fields.items()]
    print_rows(rows, as_json=as_json)


@articles.command()
@_ID
def submit(article_id: int) -> None:
    """Ask for a draft to be reviewed."""
    change(lambda act: editing.submit(act, article_id))
    click.echo(f"article {article_id} waits for its review")


@articles.command()
@_ID
@click.option("--publish", "is_good", is_flag=True, help="Show it.")
@click.option("--return", "note", metavar="NOTE", help="Make it a draft again, with what to mend.")
def review(article_id: int, note: str | None, *, is_good: bool) -> None:
    """Decide about what was submitted."""
    if is_good == (note is not None):
        raise click.UsageError("either --publish or --return NOTE")
    if note is None:
        change(lambda act: editing.approve(act, article_id))
        click.echo(f"article {article_id} is published")
    else:
        change(lambda act: editing.send_back(act, article_id, note))
        click.echo(f"article {article_id} is a draft again")


@articles.command()
@_ID
@click.option("--to", "channel", required=True, help="The channel: its number or its slug.")
def move(article_id: int, channel: str) -> None:
    """Have an article stand in another channel."""

    def work(act: Act) -> Record:
        fields = Fields(channel_id=find_channel(act.conn, channel))
        return editing.edit(act, article_id, fields)

    click.echo(f"article {article_id} stands in {change(work).channel}")


@articles.command()
@_ID
@click.option("--at", "moment", help="ISO 8601; UTC unless it says otherwise: 2026-11-23T18:00")
def publish(article_id: int, moment: str | None) -> None:
    """Show an article: now, or hidden until an hour and shown then."""
    if moment is None:
        _publish(article_id)
    else:
        schedule(article_id, moment)


@articles.command("take-down")
@_ID
def take_down(article_id: int) -> None:
    """Show an article nowhere any more. `restore` brings it back."""
    change(lambda act: editing.take_down(act, article_id))
    click.echo(f"article {article_id} is taken down")


@articles.command()
@_ID
def restore(article_id: int) -> None:
    """Show an article again that was taken down."""

    def work(act: Act) -> Record | None:
        try:
            return editing.restore(act, article_id)
        except editing.StatusError:
            return None

    restored = change(work)
    if restored is None:
        click.echo(f"article {article_id} was not taken down")
    elif restored.published_at is not None and restored.published_at > datetime.now(UTC):
        shown = _show(restored.published_at)
        click.echo(f"article {article_id} is restored and appears at {shown}")
    else:
        click.echo(f"article {article_id} is restored")


@articles.command()
@_ID
def delete(article_id: int) -> None:
    """Delete an article for good: its source does not bring it back. What readers did with it stays
    in the books, and what it said in the audit log."""
    change(lambda act: editing.delete(act, article_id))
    click.echo(f"article {article_id} is deleted")


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
    change(lambda act: editing.schedule(act, article_id, run_at))
    click.echo(f"article {article_id} appears at {_show(run_at)}")


def _publish(article_id: int) -> None:
    def work(act: Act) -> bool:
        before = read_article(act.conn, act.actor, article_id)
        return digest(editing.publish(act, article_id)) != digest(before)

    is_new = change(work)
    click.echo(f"article {article_id} is published" + ("" if is_new else " already"))


def _show(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
