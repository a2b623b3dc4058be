"""`tidings train`: learns from what readers did, in a process of its own.

Exit code 0: done, 2: nothing could be done, 66 (EX_NOINPUT): there is too little to learn from, 75
(EX_TEMPFAIL): another training runs.

    tidings train
    tidings train --events clicks.csv.gz --kind ranker
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from services.recommender.models.files import Kind, TrainingRunsError, models_of
from services.recommender.training.wanted import DAYS, Wanted
from tidings.commands.moment_option import Moment
from tidings.commands.printing import print_rows
from tidings.process.boot import prepare_var_dir
from tidings.process.errors import CannotStartError
from tidings.process.extras import how_to_install, missing_of
from tidings.process.logs import configure_logging
from tidings.process.settings import Settings, load_settings

EXTRA = "train"
KEEP_MODELS = 7


@click.command()
@click.option("--events", "file", help="Learn from a file of events in place of the site's own.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in Kind]),
    help="Only this kind of model; may be given twice. Default: both.",
)
@click.option(
    "--days",
    default=DAYS,
    show_default=True,
    type=click.IntRange(1, 90),
    help="Learn from so many days of the site's own events.",
)
@click.option("--since", type=Moment(), help="Learn from clicks from here on.")
@click.option("--held-out", type=Moment(), help="Judge on clicks from here on.")
@click.option("--until", type=Moment(), help="Leave out all from here on.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="Of the samples and the trees.",
)
def train(
    file: str | None,
    kinds: tuple[str, ...],
    days: int,
    since: int | None,
    held_out: int | None,
    until: int | None,
    seed: int,
) -> None:
    """Train what ranks articles, and what proposes them; use it if it proves not worse.

    Learns from the clicks of the site's readers, or of FILE, CSV as `tidings import events` reads:
    ts,user_id,article_id[,event,session_id,device,referrer]. The last part is held out: the new
    model is judged on it beside the one in use, and kept but not used unless that says that it is
    not worse.
    """
    if missing := missing_of(EXTRA):
        raise CannotStartError(
            f"training needs {', '.join(missing)}: {how_to_install(EXTRA)}; until then "
            "readers are served by the hand blend, which needs nothing more"
        )
    settings = load_settings()
    prepare_var_dir(settings)
    configure_logging(settings, "train")
    wanted = Wanted(
        kinds=tuple(map(Kind, kinds)) or tuple(Kind),
        file=file,
        days=days,
        since_ms=since,
        held_ms=held_out,
        until_ms=until,
        seed=seed,
    )
    try:
        done = _run(settings, wanted)
    except TrainingRunsError as ex:
        click.echo(f"tidings: {ex}", err=True)
        sys.exit(os.EX_TEMPFAIL)
    sys.exit(0 if done else os.EX_NOINPUT)


def _run(settings: Settings, wanted: Wanted) -> bool:
    """Train and print what came of it; returns whether a model was published."""
    from services.recommender.training.measured import Progress
    from services.recommender.training.nightly import Report, run

    folder = models_of(settings.site.var_dir)
    reports = []
    with folder.lock():
        # What a training that was killed left behind: up to gigabytes of events, each night anew.
        folder.prune(KEEP_MODELS)
        with folder.scratch() as scratch:
            for result in run(settings, wanted, folder, Path(scratch), Progress(click.echo)):
                if isinstance(result, Report):
                    reports.append(result)
                    _show(result.figures)
                    why = result.why_not
                    click.echo(
                        f"{result.name} is {f'kept, but not used: {why}' if why else 'in use'}"
                    )
                else:
                    click.echo(f"nothing is trained: {result}; readers are served as before")
        folder.prune(KEEP_MODELS)
    return bool(reports)


def _show(figures: Mapping[str, Mapping[str, float]]) -> None:
    rows = [
        {"on what was held out": side} | {name: f"{value:.4f}" for name, value in some.items()}
        for side, some in figures.items()
    ]
    print_rows(rows, as_json=False)
