"""`tidings sources`: who delivers articles, when each is asked again, and what came of it.

Adding, pausing, resuming and removing are in the audit log under the user of the shell. What is
added is asked by the daemon, within a minute. Rejected: a verb that asks a source now; `check`
shows what would come in, and `tidings import articles ADDRESS` brings it in.

    tidings sources add https://harbour.example/feed --channel Harbour
"""

from __future__ import annotations

import click
from msgspec import UNSET
from sqlalchemy import Connection

from tidings.commands.changing import change, check_channel_name, one_line
from tidings.commands.printing import ID, json_option, print_json, print_rows
from tidings.editing import sources as editing
from tidings.editing.acting import Act
from tidings.importing.addresses import FetchRules
from tidings.importing.fetching import FetchError
from tidings.importing.inputs import is_url
from tidings.importing.opml import ListError, parse_opml
from tidings.importing.rows import make_slug
from tidings.importing.visiting import AnswerError, list_channels
from tidings.importing.visiting import check as check_address
from tidings.news.channels import ensure_channels
from tidings.news.storing import LENGTHS
from tidings.process.boot import prepare_var_dir
from tidings.process.settings import load_settings
from tidings.sources.records import STATES, find_runs, find_sources, read_source
from tidings.sources.registry import LONGEST_S, SHORTEST_S
from tidings.store.opening import open_database

_ID = click.argument("source_id", metavar="ID", type=ID)
_LIMIT = click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))


@click.group()
def sources() -> None:
    """Who delivers articles, and when each is asked again."""


@sources.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those of one state.")
@_LIMIT
@json_option
def list_sources(state: str | None, limit: int, *, as_json: bool) -> None:
    """Print the sources, with the next look at each and how often in a row it has failed."""
    with open_database(load_settings()).connect() as conn:
        found = find_sources(conn, limit=limit, state=state)
    rows = [
        {
            "source_id": source.source_id,
            "kind": source.kind,
            "state": source.state,
            "failures": source.failures,
            "due_at": source.due_at,
            "title": source.title,
            "address": source.address,
        }
        for source in found
    ]
    print_rows(rows, as_json=as_json)


@sources.command()
@_ID
@_LIMIT
@json_option
def show(source_id: int, limit: int, *, as_json: bool) -> None:
    """Print what is known of a source, and what came of the last looks at it."""
    with open_database(load_settings()).connect() as conn, one_line():
        source, runs = read_source(conn, source_id), find_runs(conn, source_id, limit=limit)
    if as_json:
        print_json([source, *runs])
        return
    fields = source.__struct_fields__
    print_rows([{"field": name, "value": getattr(source, name)} for name in fields], as_json=False)
    for run in runs:
        told = "; ".join(part for part in (run.error, *run.reasons) if part)
        click.echo(
            f"{run.at:%Y-%m-%d %H:%M:%S}Z {run.outcome}: {run.created} new, {run.updated} changed, "
            f"{run.unchanged} unchanged, {run.refused} refused" + (f": {told}" if told else "")
        )


@sources.command()
@click.argument("address")
@click.option("--channel", help="Where its articles stand. Default: named by the feed's title.")
@click.option(
    "--every",
    "minutes",
    type=click.IntRange(SHORTEST_S // 60, LONGEST_S // 60),
    help="Minutes from one look to the next. Default: 60.",
)
def add(address: str, channel: str | None, minutes: int | None) -> None:
    """Follow the feed at ADDRESS, or every feed of an OPML file.

    An address that ends with .opml is read anew each day, and its feeds are followed as long as it
    lists them. A feed that is followed already takes over the channel and the minutes that are
    given.
    """
    check_channel_name(channel)
    wanted = {address: channel} if is_url(address) else _read_list(address, channel)

    def work(act: Act) -> list[str]:
        return [
            _follow(act, feed, folder, None if minutes is None else minutes * 60)
            for feed, folder in wanted.items()
        ]

    for line in change(work):
        click.echo(line)


@sources.command()
@click.argument("address")
@json_option
def check(address: str, *, as_json: bool) -> None:
    """Show what would come in from the feed at ADDRESS, and store nothing."""
    settings = load_settings()
    prepare_var_dir(settings)
    try:
        seen = check_address(address, folder=settings.site.var_dir, rules=FetchRules.of(settings))
    except (FetchError, AnswerError) as ex:
        raise click.ClickException(f"{address}: {ex}") from None
    if as_json:
        print_json([seen])
        return
    click.echo(f"{seen.title or 'a feed without a title'}: {seen.entries} entries at {seen.url}")
    rows = [
        {"published_at": article.published_at, "title": article.title, "url": article.url}
        for article in seen.articles
    ]
    print_rows(rows, as_json=False)
    for reason in seen.refused:
        click.echo(reason)


@sources.command()
@_ID
def pause(source_id: int) -> None:
    """Ask the source no more until it is resumed."""
    change(lambda act: editing.change(act, source_id, editing.Changes(state="paused")))
    click.echo(f"source {source_id} is paused")


@sources.command()
@_ID
def resume(source_id: int) -> None:
    """Ask the source again, within a minute."""
    change(lambda act: editing.change(act, source_id, editing.Changes(state="active")))
    click.echo(f"source {source_id} is active")


@sources.command()
@_ID
def remove(source_id: int) -> None:
    """Ask and list the source no more. Its articles stay."""
    change(lambda act: editing.remove(act, source_id))
    click.echo(f"source {source_id} is removed; its articles stay")


def _read_list(path: str, channel: str | None) -> dict[str, str | None]:
    """Address → channel, of the feeds in an OPML file."""
    try:
        with open(path, "rb") as file:
            listed, refused = list_channels(parse_opml(file))
    except OSError as ex:
        raise click.ClickException(f"{path}: {ex.strerror}") from None
    except ListError as ex:
        raise click.ClickException(f"{path}: {ex}") from None
    for reason in refused:
        click.echo(f"{path}: {reason}", err=True)
    if not listed:
        raise click.ClickException(f"{path}: there is no feed in this list")
    return {address: channel or folder for address, folder in listed.items()}


def _follow(act: Act, address: str, channel: str | None, every_s: int | None) -> str:
    channel_id = _open_channel(act.conn, channel) if channel else None
    source = editing.add(act, address)
    changes = editing.Changes(
        channel_id=UNSET if channel_id is None else channel_id,
        every_s=UNSET if every_s is None else every_s,
    )
    editing.change(act, source.source_id, changes)
    return f"source {source.source_id} is {source.state}: {source.address}"


def _open_channel(conn: Connection, name: str) -> int | None:
    slug = make_slug(name)[: LENGTHS.channel_slug]
    return ensure_channels(conn, {slug: name[: LENGTHS.channel_name]})[slug] if slug else None
