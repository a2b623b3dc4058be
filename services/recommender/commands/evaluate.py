"""`tidings evaluate`: how much of what readers went on to would have stood in their feeds.

The log is read once, and every contender answers the same questions in the same run. Exit code 0:
done, 1: some rows were refused and are kept aside, 2: nothing could be done.

    tidings evaluate clicks.csv.gz --since 2017-10-10T03:00Z --json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from services.recommender.commands.leave_last_out import NoReadersError, judge_last_left_out
from services.recommender.evaluation.comparing import SAMPLE, Asking, NoQuestionsError, compare
from services.recommender.evaluation.impressions import (
    NoPagesError,
    judge_impressions,
    make_pages,
)
from services.recommender.evaluation.log import EmptyLogError, Log, make_log
from services.recommender.evaluation.picture import draw
from services.recommender.evaluation.report import (
    Report,
    figure_rows,
    margin_rows,
    plain_rows,
    prefix_rows,
    source_rows,
)
from services.recommender.parts import make_models
from tidings.commands.moment_option import Moment
from tidings.commands.printing import json_option, print_json, print_rows
from tidings.importing import InputError
from tidings.importing.addresses import FetchRules
from tidings.importing.event_rows import EventBlock, EventsHeaderError, read_events
from tidings.importing.inputs import UNREADABLE, open_input
from tidings.importing.report import SHOWN_REJECTS
from tidings.importing.workspace import FOLDER, Workspace, open_workspace
from tidings.process.boot import prepare_var_dir
from tidings.process.clock import now_ms
from tidings.process.errors import CannotStartError
from tidings.process.extras import how_to_install
from tidings.process.logs import configure_logging
from tidings.process.settings import load_settings

EXIT_REJECTS = 1
EXTRA = "train"
# At so many the 95 % interval of a hit is still ±.1.
LEAST_QUESTIONS = 100
DAY_MS = 24 * 3600 * 1000
SHOWN_EVERY = 100
NEXT_CLICK = "next-click"
LEAVE_LAST_OUT = "leave-last-out"
IMPRESSIONS = "impressions"
PROTOCOLS = (NEXT_CLICK, LEAVE_LAST_OUT, IMPRESSIONS)


@click.command()
@click.argument("file")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default=NEXT_CLICK, show_default=True)
@click.option("--since", type=Moment(), help="Ask from here on. Default: 24 h before the end.")
@click.option("--until", type=Moment(), help="Ask until before. Default: 24 h after --since.")
@click.option("--sample", default=SAMPLE, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="Of the sample and the intervals.",
)
@click.option(
    "--late",
    "late_s",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seconds by which the signals that readers share are late.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the next clicks into this file, as SVG.",
)
@json_option
def evaluate(
    file: str,
    protocol: str,
    since: int | None,
    until: int | None,
    sample: int,
    seed: int,
    late_s: int,
    picture: Path | None,
    *,
    as_json: bool,
) -> None:
    """Judge the recommender by the log of events in FILE, beside its baselines.

    FILE is CSV, plain, .gz or .xz, or - for standard input:
    ts,user_id,article_id[,event,session_id,device,referrer]. Events before --since only warm the
    signals up; later ones than --until are not looked at. docs/evaluation.md describes the
    protocols.
    """
    blocks, rejected = _read(file)
    report: Report = {"protocol": protocol, "rejected": rejected}
    try:
        match protocol:
            case "impressions":
                pages = make_pages(blocks)
                report["contenders"] = judge_impressions(pages, seed=seed)
                number = len(pages)
            case "leave-last-out":
                report["contenders"] = judge_last_left_out(make_log(blocks), seed=seed)
                number = report["contenders"][0]["questions"]
            case _:
                log = make_log(blocks)
                since_ms = int(log.at_ms[-1]) + 1 - DAY_MS if since is None else since
                until_ms = since_ms + DAY_MS if until is None else until
                report |= _compare(
                    log, Asking(since_ms, until_ms, sample=sample, seed=seed, late_ms=late_s * 1000)
                )
                number = report["questions"]
    except (EmptyLogError, NoQuestionsError, NoPagesError, NoReadersError) as ex:
        raise CannotStartError(f"{file}: {ex}") from None
    except ImportError as ex:
        raise CannotStartError(f"{ex}: {how_to_install(EXTRA)}") from None
    if picture is not None and protocol == NEXT_CLICK:
        _draw(report, picture)
    if as_json:
        print_json([report])
    elif protocol == NEXT_CLICK:
        _print_tables(report)
    else:
        print_rows(plain_rows(report["contenders"]), as_json=False)
    if number < LEAST_QUESTIONS:
        click.echo(
            f"{number} questions are too few to judge by: with fewer than {LEAST_QUESTIONS} a "
            "figure says little",
            err=True,
        )
    sys.exit(EXIT_REJECTS if rejected else 0)


def _draw(report: Report, picture: Path) -> None:
    try:
        picture.write_text(draw(report["contenders"]))
    except OSError as ex:
        raise CannotStartError(f"{picture}: {ex.strerror}") from None


def _compare(log: Log, asking: Asking) -> Report:
    is_watched = sys.stderr.isatty()

    def show(number: int, of: int) -> None:
        if is_watched and (number % SHOWN_EVERY == 0 or number == of):
            click.echo(f"\r{number} of {of} questions", err=True, nl=number == of)

    models = make_models(load_settings())
    models.look()
    return compare(log, asking, models=models, on_question=show)


def _print_tables(report: dict[str, Any]) -> None:
    click.echo(
        f"{report['questions']} next clicks of {report['events']} clicks on {report['articles']} "
        f"articles, from {report['since']:%Y-%m-%d %H:%M}Z to {report['until']:%Y-%m-%d %H:%M}Z"
    )
    contenders = report["contenders"]
    for rows in (
        figure_rows(contenders),
        margin_rows(contenders),
        prefix_rows(contenders),
        source_rows(contenders),
    ):
        if rows:
            click.echo()
            print_rows(rows, as_json=False)


def _read(file: str) -> tuple[list[EventBlock], int]:
    """The events of a file, and how many of its rows were refused."""
    settings = load_settings()
    prepare_var_dir(settings)
    configure_logging(settings, "evaluate")
    folder = settings.site.var_dir / FOLDER
    folder.mkdir(exist_ok=True)
    try:
        with (
            open_input(file, folder, FetchRules.of(settings)) as source,
            open_workspace(folder, source.name) as workspace,
        ):
            workspace.begin()
            blocks = list(read_events(source.stream, until_ms=now_ms()))
            return blocks, _keep_rejects(blocks, workspace)
    except InputError as ex:
        raise CannotStartError(str(ex)) from None
    except (EventsHeaderError, *UNREADABLE) as ex:
        raise CannotStartError(f"{file}: {ex}") from None


def _keep_rejects(blocks: Sequence[EventBlock], workspace: Workspace) -> int:
    rejects = [reject for block in blocks for reject in block.rejects]
    for reject in rejects[:SHOWN_REJECTS]:
        click.echo(f"{reject.place}: {reject.reason}", err=True)
    for reject in rejects:
        workspace.add_reject(reject)
    if rejects:
        click.echo(f"{len(rejects)} rows refused: {Path(workspace.rejects_path)}", err=True)
    return len(rejects)
