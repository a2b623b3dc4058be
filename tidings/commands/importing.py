"""`tidings import articles` and `tidings import events`: at a terminal with a progress bar, from
cron with one line.

The exit code is the verdict: 0 everything is in, 1 some rows were rejected, 2 nothing could be done
or not all of it, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import SQLAlchemyError

from tidings.commands.changing import check_channel_name
from tidings.editing.acting import shell_actor
from tidings.importing import Format, InputError, Report, import_articles
from tidings.importing.addresses import FetchRules
from tidings.importing.events import import_events
from tidings.importing.loading import OnProgress
from tidings.importing.workspace import FOLDER
from tidings.news.articles import Articles
from tidings.process.boot import prepare_var_dir
from tidings.process.clock import now_ms
from tidings.process.errors import CannotStartError
from tidings.process.logs import configure_logging
from tidings.process.settings import Settings, load_settings
from tidings.store.opening import open_database
from tidings.store.redis import make_redis

EXIT_REJECTS = 1
EXIT_INTERRUPTED = 130


@click.group("import")
def import_group() -> None:
    """Bring content in from files and feeds."""


@import_group.command()
@click.argument("source")
@click.option(
    "--format",
    "format_",
    type=click.Choice([str(name) for name in Format]),
    help="Default: told by itself.",
)
@click.option("--channel", help="Channel of rows that name none, and of the entries of feeds.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin at the first row, even if an earlier run was interrupted.",
)
def articles(source: str, format_: str | None, channel: str | None, *, restart: bool) -> None:
    """Import articles from SOURCE: a file, an http(s) address, or - for standard input.

    JSONL, CSV, RSS, Atom, or an OPML list of feeds, plain or packed. Running it again changes only
    what has changed. Exit code 1: some rows were rejected; the last line says where they are.
    """
    check_channel_name(channel)
    settings = load_settings()
    engine = open_database(settings)
    prepare_var_dir(settings)
    configure_logging(settings, "import")
    stale: list[int] = []
    stored = Articles(
        engine,
        make_redis(settings.redis),
        card_ttl_s=settings.gateway.card_ttl_s,
        clock=now_ms,
        on_stale=lambda ids, _: stale.extend(ids),
    )

    def forget(ids: Sequence[int]) -> None:
        if not stale:  # A Redis that is away costs one try, not one a batch.
            stored.forget(ids)

    report = _run(
        source,
        settings,
        lambda on_progress: import_articles(
            source,
            engine,
            folder=settings.site.var_dir / FOLDER,
            added_by=shell_actor().name,
            format_=Format(format_) if format_ else None,
            channel=channel,
            restart=restart,
            rules=FetchRules.of(settings),
            on_change=forget,
            on_progress=on_progress,
        ),
    )
    if stale and report.counts.updated:
        click.echo(
            "Redis does not answer: changed articles may show their old text for "
            f"{settings.gateway.card_ttl_s} s",
            err=True,
        )
    sys.exit(EXIT_REJECTS if report.counts.rejected else 0)


@import_group.command()
@click.argument("source")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin at the first row, even if an earlier run was interrupted.",
)
def events(source: str, *, restart: bool) -> None:
    """Import what readers did from SOURCE: a CSV file, an http(s) address, or -.

    Columns ts,user_id,article_id[,event,session_id,device,referrer], packed or not. Running it
    again changes nothing. Exit code 1: some rows were rejected; the last line says where they are.
    """
    settings = load_settings()
    engine = open_database(settings)
    prepare_var_dir(settings)
    configure_logging(settings, "import")
    report = _run(
        source,
        settings,
        lambda on_progress: import_events(
            source,
            engine,
            folder=settings.site.var_dir / FOLDER,
            restart=restart,
            rules=FetchRules.of(settings),
            on_progress=on_progress,
        ),
    )
    if not report.counts.rows:
        click.echo(f"{source} has a header and no row under it", err=True)
    sys.exit(EXIT_REJECTS if report.counts.rejected else 0)


def _run(source: str, settings: Settings, import_: Callable[[OnProgress], Report]) -> Report:
    """Import with a progress bar, and say how it went. What prevents it is one line."""
    started_s = time.monotonic()
    try:
        with _progress_bar() as on_progress:
            report = import_(on_progress)
    except InputError as ex:
        raise CannotStartError(str(ex)) from None
    except OSError as ex:
        raise CannotStartError(
            f"{ex.filename or settings.site.var_dir}: {ex.strerror or ex}"
        ) from None
    except SQLAlchemyError as ex:
        raise CannotStartError(
            f"the database failed: {_cause(ex)}; what is in stays in, and the same command "
            "continues"
        ) from None
    except KeyboardInterrupt:
        click.echo("\ntidings: stopped; the same command continues where it was", err=True)
        sys.exit(EXIT_INTERRUPTED)
    _summarise(source, report, time.monotonic() - started_s)
    return report


@contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    console = Console(stderr=True)
    bar = Progress(
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]} rows, {task.fields[rejected]} rejected"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("import", total=1.0, rows=0, rejected=0)

        def show(report: Report, fraction: float) -> None:
            counts = report.counts
            bar.update(task, completed=fraction, rows=counts.rows, rejected=counts.rejected)

        yield show


def _summarise(source: str, report: Report, seconds: float) -> None:
    for reject in report.first_rejects:
        click.echo(f"{reject.place}: {reject.reason}", err=True)
    before = f", {report.resumed_rows} of them by an earlier run" if report.resumed_rows else ""
    where = f"; rejected rows: {report.rejects_path}" if report.rejects_path else ""
    click.echo(f"{source}: {report.counts} in {seconds:.1f} s{before}{where}")


def _cause(ex: SQLAlchemyError) -> str:
    cause = getattr(ex, "orig", None) or ex
    return str(cause.args[-1]) if cause.args else type(cause).__name__
